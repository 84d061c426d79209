"""What manifest.json says, as plain frozen values, and the limits of the format (FORMAT.md, section 2)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from seit.errors import StoreError
from seit.store.codebook import entropy

MAX_MANIFEST_BYTES = 128 << 20
MAX_SHARDS = 1 << 17
MAX_VOCABULARY = 1 << 18
MAX_CELLS = 1 << 16
MAX_ROWS = 1 << 40
MAX_SHARD_ROWS = 1 << 30
MAX_FILE_BYTES = (1 << 31) - 1
MAX_CODEC_BYTES = 64 << 20
MAX_CLASSES = 1 << 20
MAX_VIEWS = 1 << 10
MAX_BLOCK_ROWS = 255
MAX_SPLIT_LENGTH = 64
MAX_TEXT_LENGTH = 4096

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

LABELS = ("class", "multi", "soft", "none")

Extra = dict[str, Any]
"""Fields that this version does not know; every rewrite keeps them."""


@dataclass(frozen=True)
class File:
    """One file of the store: a bare name, its size in bytes and its SHA-256."""

    file: str
    bytes: int
    sha256: str
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class CodecEntry:
    """A fitted codec, whose bytes every shard that uses it carries; `rows_per_block` rows share a payload."""

    name: str
    rows_per_block: int
    bytes: int
    sha256: str
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Shard:
    """`rows` consecutive rows of one split: their payloads (`data`) and their names (`side`)."""

    split: str
    rows: int
    codec: int
    payload_bytes: int
    offset_bytes: int
    label_bytes: int
    data: File
    side: File
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything that is known about a token data set without opening its shards.

    Attributes:
        generation: 1 for a new data set; every rewrite adds one.
        tokenizer: name, identity (compared), preprocessing, provenance (displayed).
        shape: cells of a row along each axis: (n,), (h, w) or (q, h, w).
        full_vocabulary: codes of the tokenizer, of which K are used here.
        used_codes: int32 [K], the tokenizer's code of each stored id; ranges in the file.
        code_counts: int64 [K], how often each stored id occurs in all rows.
        labels: "class", "multi", "soft" or "none".
        classes: names in label order, each once; empty without labels.
        class_counts: rows of each class, int64 [C], by split; empty without labels.
        views: rows of each image; they follow one another.
        source: name, split rule, terms, bytes of the files and of their JPEG scans.
        created: command, plan and library versions.
        metadata: the user's own; nothing here reads it.
        codebook: the file of the vectors, or None where they are unknown.
        superseded: files that the generation before named and this one does not; the next rewrite deletes them.
        must_understand: extensions without which the rows cannot be read.
    """

    tokenizer: dict[str, Any]
    shape: tuple[int, ...]
    full_vocabulary: int
    used_codes: np.ndarray
    code_counts: np.ndarray
    labels: str
    classes: list[str]
    class_counts: dict[str, np.ndarray]
    views: int
    source: dict[str, Any]
    created: dict[str, Any]
    codebook: File | None
    metadata: dict[str, Any] = field(default_factory=dict)
    codecs: list[CodecEntry] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    superseded: list[File] = field(default_factory=list)
    generation: int = 1
    must_understand: list[str] = field(default_factory=list)
    extra: Extra = field(default_factory=dict)

    @cached_property
    def splits(self) -> dict[str, int]:
        """Rows of each split, in stored order."""
        rows: dict[str, int] = {}
        for shard in self.shards:
            rows[shard.split] = rows.get(shard.split, 0) + shard.rows
        return rows

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the plane that a codec sees: the last axis, and all others one under another."""
        return math.prod(self.shape[:-1]), self.shape[-1]

    @property
    def vocabulary(self) -> int:
        """K: the stored ids are 0..K-1."""
        return len(self.used_codes)

    @property
    def entropy(self) -> float:
        """H0 of all stored ids, bits per id."""
        return entropy(self.code_counts)

    @property
    def rows(self) -> int:
        """Rows of all splits together."""
        return sum(shard.rows for shard in self.shards)

    @property
    def cells(self) -> int:
        """Ids in one row."""
        return math.prod(self.shape)

    @property
    def files(self) -> list[File]:
        """Every file of the store but the manifest and superseded ones, in the order of the manifest."""
        shards = [file for shard in self.shards for file in (shard.data, shard.side)]
        return [*([self.codebook] if self.codebook else []), *shards]


def check_split(split: Any) -> str:
    """Returns a split's name.

    Raises:
        StoreError: it is empty, long or not printable.
    """
    good = isinstance(split, str) and bool(split.strip()) and len(split) <= MAX_SPLIT_LENGTH
    if not good or _CONTROL.search(split):
        cure = f"use 1 to {MAX_SPLIT_LENGTH} printable characters"
        raise StoreError(f"{str(split)[:80]!r} is not a name for a split", "split", cure)
    return split
