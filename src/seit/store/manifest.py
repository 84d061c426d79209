"""The only reader and writer of manifest.json, the one file that makes a folder a token data set.

A manifest is hostile input: every field is checked and capped here before anything is opened or allocated,
file names are bare, and nothing is fetched or imported. FORMAT.md is the normative description.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seit import files
from seit.errors import StoreError
from seit.store.codebook import from_ranges, to_ranges

NAME = "manifest.json"
FORMAT = "seit-tokens"
VERSION = 1

MAX_MANIFEST_BYTES = 64 << 20
MAX_VOCABULARY = 1 << 18
MAX_CELLS = 1 << 16
MAX_ROWS = 1 << 40
MAX_SHARD_ROWS = 1 << 30
MAX_SHARD_BYTES = (1 << 31) - 1
MAX_CLASSES = 1 << 20
MAX_VIEWS = 1 << 10
MAX_BLOCK_ROWS = 1 << 16

LABELS = ("class", "multi", "soft", "none")

_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(rb'"digest": "([0-9a-f]{64})"\s*\}\s*$')


@dataclass(frozen=True)
class File:
    """One file of the store: a bare name, its size and its SHA-256."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class CodecFile(File):
    """The fitted tables of one codec; `rows_per_block` rows share one payload."""

    name: str
    rows_per_block: int


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


@dataclass(frozen=True)
class Manifest:
    """Everything that is known about a token data set without opening its shards.

    Attributes:
        tokenizer: name, identity (compared), provenance (shown), preprocessing.
        grid: (h, w) cells.
        full_vocabulary: codes of the tokenizer, of which K are used here.
        used_codes: int32 [K], the tokenizer's code of each stored id; ranges in the file.
        classes: names in label order; empty without labels.
        labels: "class", "multi", "soft" or "none".
        views: rows of each image; they follow one another.
        entropy: H0 of all stored ids, bits per id.
        source: name, split rule, terms, bytes of the files and of their JPEG scans.
        created: command, plan and library versions.
    """

    tokenizer: dict[str, Any]
    grid: tuple[int, int]
    full_vocabulary: int
    used_codes: np.ndarray
    classes: list[str]
    labels: str
    views: int
    entropy: float
    source: dict[str, Any]
    created: dict[str, Any]
    codebook: File
    codecs: list[CodecFile] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split, in stored order."""
        rows: dict[str, int] = {}
        for shard in self.shards:
            rows[shard.split] = rows.get(shard.split, 0) + shard.rows
        return rows

    @property
    def vocabulary(self) -> int:
        """K: the stored ids are 0..K-1."""
        return len(self.used_codes)

    @property
    def rows(self) -> int:
        """Rows of all splits together."""
        return sum(shard.rows for shard in self.shards)

    @property
    def cells(self) -> int:
        """Ids in one row, h * w."""
        return self.grid[0] * self.grid[1]

    @property
    def id_type(self) -> str:
        """NumPy name of the ids' type: uint16, or uint32 above 65,536 codes."""
        return "uint16" if self.vocabulary <= 1 << 16 else "uint32"

    @property
    def files(self) -> list[File]:
        """Every file of the store but the manifest, in the order of the manifest."""
        shards = [file for shard in self.shards for file in (shard.data, shard.side)]
        return [self.codebook, *self.codecs, *shards]


def to_bytes(manifest: Manifest) -> bytes:
    """Serialises a manifest; its last field is the SHA-256 of its own bytes with that field zeroed."""
    codes = {"vocabulary": manifest.vocabulary, "used_codes": to_ranges(manifest.used_codes)}
    value = {"format": FORMAT, "version": VERSION, **asdict(manifest), **codes, "digest": "0" * 64}
    data = (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
    return data.replace(b'"digest": "' + b"0" * 64, b'"digest": "' + _digest(data).encode())


def write(folder: str | os.PathLike[str], manifest: Manifest) -> None:
    """Writes the manifest: the moment at which the folder's new state becomes visible."""
    files.write_bytes(Path(folder) / NAME, to_bytes(manifest))


def read(path: str | os.PathLike[str]) -> Manifest:
    """Reads and checks a manifest file.

    Raises:
        StoreError: it is absent, damaged, of another version, or asks for something outside the limits.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise StoreError(f"is larger than {MAX_MANIFEST_BYTES} bytes", str(path), "it is no manifest")
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            "is not a token data set: it holds no manifest.json", str(path.parent), "make one: seit tokenize"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", str(path), "check the path") from None
    return from_bytes(data, str(path))


def from_bytes(data: bytes, where: str) -> Manifest:
    """Parses a manifest's bytes; `where` names it in errors.

    Raises:
        StoreError: as `read`.
    """
    if data.startswith(b"version https://git-lfs"):
        raise StoreError("is a Git LFS pointer, not the file itself", where, "run git lfs pull")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        cause = "HTML" if data.lstrip()[:1] == b"<" else str(error)[:80]
        raise StoreError(f"is not JSON ({cause})", where, "fetch or create the data set again") from None
    check = _Check(where)
    check.that(isinstance(value, dict) and value.get("format") == FORMAT, f"its format is not {FORMAT!r}")
    if value.get("version") != VERSION:
        raise StoreError(
            f"has format version {str(value.get('version'))[:20]}; this seit reads version {VERSION}",
            where,
            "update seit, or create the data set again",
        )
    if value.get("digest") != _digest(data):
        raise StoreError(
            "does not match its own digest: it is damaged, or was edited by hand",
            where,
            "restore it, or seal a deliberate edit with seit.store.manifest.seal",
        )
    return check.manifest(value)


def seal(path: str | os.PathLike[str]) -> None:
    """Recomputes the digest of a manifest that was edited on purpose (class names, terms)."""
    data = Path(path).read_bytes()
    zeroed = _DIGEST.sub(b'"digest": "' + b"0" * 64 + b'"\n}\n', data)
    data = zeroed.replace(b'"digest": "' + b"0" * 64, b'"digest": "' + _digest(zeroed).encode())
    from_bytes(data, str(path))
    files.write_bytes(path, data)


def _digest(data: bytes) -> str:
    """SHA-256 of the manifest's bytes, the 64 digits of its digest read as zeros."""
    found = _DIGEST.search(data)
    if not found:
        return ""
    return hashlib.sha256(data[: found.start(1)] + b"0" * 64 + data[found.end(1) :]).hexdigest()


class _Check:
    """Turns parsed JSON into a Manifest, refusing whatever is out of shape or out of bounds."""

    def __init__(self, where: str) -> None:
        self.where = where

    def that(self, holds: bool, what: str) -> None:
        if not holds:
            raise StoreError(f"is not a valid manifest: {what}", self.where, "do not use it, or see FORMAT.md")

    def number(self, value: Any, name: str, low: int, high: int) -> int:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        self.that(good, f"{name} is {str(value)[:40]!r}, not an integer in {low}..{high}")
        return value

    def text(self, value: Any, name: str, longest: int = 4096) -> str:
        self.that(isinstance(value, str) and len(value) <= longest, f"{name} is not a short text")
        return value

    def mapping(self, value: Any, name: str) -> dict[str, Any]:
        self.that(isinstance(value, dict), f"{name} is not an object")
        return value

    def sequence(self, value: Any, name: str, longest: int) -> list[Any]:
        self.that(isinstance(value, list) and len(value) <= longest, f"{name} is no list of <= {longest}")
        return value

    def bare(self, value: Any) -> str:
        good = isinstance(value, str) and _BARE.fullmatch(value) is not None and value != NAME
        self.that(good, f"{str(value)[:60]!r} is not a bare file name")
        return value

    def file(self, value: Any, name: str) -> File:
        value = self.mapping(value, name)
        sha256 = self.text(value.get("sha256"), f"sha256 of {name}", 64)
        size = self.number(value.get("bytes"), f"bytes of {name}", 0, MAX_SHARD_BYTES)
        return File(self.bare(value.get("file")), size, sha256)

    def codes(self, value: Any, full: int) -> np.ndarray:
        try:
            return from_ranges(self.text(value, "used_codes", MAX_MANIFEST_BYTES), full)
        except ValueError as error:
            self.that(False, f"used_codes are not ranges within 0..{full - 1}: {error}")
            raise

    def codec(self, value: Any) -> CodecFile:
        file = self.file(value, "codec")
        block = self.number(value.get("rows_per_block"), "rows_per_block", 1, MAX_BLOCK_ROWS)
        return CodecFile(file.file, file.bytes, file.sha256, self.text(value.get("name"), "codec", 64), block)

    def shard(self, value: Any, codecs: int) -> Shard:
        value = self.mapping(value, "shard")
        payload, offset, label = (
            self.number(value.get(name), name, 0, MAX_SHARD_BYTES)
            for name in ("payload_bytes", "offset_bytes", "label_bytes")
        )
        return Shard(
            self.bare(value.get("split")),
            self.number(value.get("rows"), "rows of a shard", 0, MAX_SHARD_ROWS),
            self.number(value.get("codec"), "codec of a shard", 0, codecs - 1),
            payload,
            offset,
            label,
            self.file(value.get("data"), "shard"),
            self.file(value.get("side"), "side table"),
        )

    def manifest(self, value: dict[str, Any]) -> Manifest:
        grid = self.sequence(value.get("grid"), "grid", 2)
        self.that(len(grid) == 2, "grid is not [h, w]")
        h, w = (self.number(side, "a side of the grid", 1, MAX_CELLS) for side in grid)
        self.that(h * w <= MAX_CELLS, f"grid {h}x{w} has more than {MAX_CELLS} cells")
        full = self.number(value.get("full_vocabulary"), "full_vocabulary", 1, MAX_VOCABULARY)
        labels = self.text(value.get("labels"), "labels")
        self.that(labels in LABELS, f"labels is {labels[:20]!r}, not one of {', '.join(LABELS)}")
        entropy: Any = value.get("entropy")
        self.that(isinstance(entropy, int | float) and 0 <= entropy <= 18, "entropy is not in 0..18 bits")
        codecs = [self.codec(item) for item in self.sequence(value.get("codecs"), "codecs", 1 << 10)]
        shards = self.sequence(value.get("shards"), "shards", 1 << 18)
        manifest = Manifest(
            tokenizer=self.mapping(value.get("tokenizer"), "tokenizer"),
            grid=(h, w),
            full_vocabulary=full,
            used_codes=self.codes(value.get("used_codes"), full),
            classes=[
                self.text(name, "a class name")
                for name in self.sequence(value.get("classes"), "classes", MAX_CLASSES)
            ],
            labels=labels,
            views=self.number(value.get("views"), "views", 1, MAX_VIEWS),
            entropy=float(entropy),
            source=self.mapping(value.get("source"), "source"),
            created=self.mapping(value.get("created"), "created"),
            codebook=self.file(value.get("codebook"), "codebook"),
            codecs=codecs,
            shards=[self.shard(item, len(codecs)) for item in shards],
        )
        self.that(value.get("vocabulary") == manifest.vocabulary, "vocabulary and used_codes disagree")
        names = [file.file for file in manifest.files]
        self.that(len(set(names)) == len(names), "two entries name the same file")
        self.that(manifest.rows <= MAX_ROWS, f"it claims more than {MAX_ROWS} rows")
        self.that(all(shard.rows % manifest.views == 0 for shard in manifest.shards), "a shard cuts an image")
        return manifest
