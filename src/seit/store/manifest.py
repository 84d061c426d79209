"""The only reader and writer of manifest.json, the one file that makes a folder a token data set.

A manifest is hostile input: every field is checked and capped here before anything is opened or allocated, file
names are bare, and nothing is fetched or imported. FORMAT.md is the normative description.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from seit import files
from seit.errors import StoreError
from seit.store import entries
from seit.store.codebook import from_ranges, to_ranges
from seit.store.entries import CodecEntry, File, Manifest, Shard

NAME = "manifest.json"
FORMAT = "seit-tokens"
VERSION = 1
UNDERSTOOD: frozenset[str] = frozenset()
"""Extensions that this reader knows; a manifest that must be understood beyond them is refused."""

_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(rb'"digest"[ \t\r\n]*:[ \t\r\n]*"([0-9a-f]{64})"[ \t\r\n]*\}[ \t\r\n]*$')


def to_bytes(manifest: Manifest) -> bytes:
    """Serialises a manifest; its last field is the SHA-256 of its own bytes with that field zeroed.

    Raises:
        StoreError: it holds what JSON or UTF-8 cannot: NaN, or a lone surrogate in a name.
    """
    values = _plain(manifest)
    values["used_codes"] = to_ranges(manifest.used_codes)
    values["code_counts"] = manifest.code_counts.tolist()
    values["class_counts"] = {split: counts.tolist() for split, counts in manifest.class_counts.items()}
    head = {"format": FORMAT, "version": VERSION, "vocabulary": manifest.vocabulary}
    try:
        lines = [f"{json.dumps(name)}: {_lines(value)}" for name, value in (head | values).items()]
        data = "{\n" + ",\n".join([*lines, f'"digest": "{"0" * 64}"']) + "\n}\n"
        encoded = data.encode()
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"cannot be written as JSON ({str(error)[:120]})", NAME, "mend names and metadata"
        ) from None
    digest = _digest(encoded).encode()
    return encoded[: -len(digest) - 4] + digest + b'"\n}\n'


def write(folder: str | os.PathLike[str], manifest: Manifest) -> None:
    """Writes the manifest: the moment at which the folder's new state becomes visible.

    What a reader would refuse is refused here, while the state before still stands.

    Raises:
        StoreError: the manifest is out of the format's limits.
    """
    path = Path(folder) / NAME
    data = to_bytes(manifest)
    from_bytes(data, f"{path} (not written)")
    files.write_bytes(path, data)


def read(path: str | os.PathLike[str]) -> Manifest:
    """Reads and checks a manifest file.

    Raises:
        StoreError: it is absent, damaged, of another version, or asks for something outside the limits.
    """
    path = Path(path)
    try:
        if path.stat().st_size > entries.MAX_MANIFEST_BYTES:
            raise StoreError(f"is larger than {entries.MAX_MANIFEST_BYTES} bytes", str(path), "check the path")
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
    if len(data) > entries.MAX_MANIFEST_BYTES:
        raise StoreError(f"is larger than {entries.MAX_MANIFEST_BYTES} bytes", where, "write fewer, larger shards")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        cause = "HTML" if data.lstrip()[:1] == b"<" else str(error)[:80]
        raise StoreError(f"is not JSON ({cause})", where, "fetch or create the data set again") from None
    check = _Check(where)
    check.that(isinstance(value, dict) and value.get("format") == FORMAT, f"its format is not {FORMAT!r}")
    version = value.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise StoreError(
            f"has format version {str(version)[:20]}; this seit reads version {VERSION}",
            where,
            "update seit, or create the data set again",
        )
    if value.get("digest") != _digest(data):
        raise StoreError(
            "does not match its own digest: it is damaged, or was edited by hand",
            where,
            "restore it; class names, terms and metadata are changed by seit edit",
        )
    return check.manifest(value)


def _plain(entry: Any) -> Any:
    """Turns entries into JSON values, unknown fields at their end."""
    if isinstance(entry, list):
        return [_plain(item) for item in entry]
    if not hasattr(entry, "__dataclass_fields__"):
        return list(entry) if isinstance(entry, tuple) else entry
    known = {item.name: _plain(getattr(entry, item.name)) for item in fields(entry) if item.name != "extra"}
    return known | entry.extra


def _lines(value: Any) -> str:
    """Writes lists of objects with one object a line, everything else on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n " + ",\n ".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _digest(data: bytes) -> str:
    """SHA-256 of the manifest's bytes, the 64 digits of its digest read as zeros; "" without such a last field."""
    match = _DIGEST.search(data, max(0, data.rfind(b'"digest"')))
    if not match:
        return ""
    return hashlib.sha256(data[: match.start(1)] + b"0" * 64 + data[match.end(1) :]).hexdigest()


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

    def text(self, value: Any, name: str, longest: int = entries.MAX_TEXT_LENGTH) -> str:
        good = isinstance(value, str) and len(value) <= longest
        self.that(good, f"{name} is {str(value)[:40]!r}, not a text of at most {longest} characters")
        return value

    def mapping(self, value: Any, name: str) -> dict[str, Any]:
        self.that(isinstance(value, dict), f"{name} is {str(value)[:40]!r}, not an object")
        return value

    def sequence(self, value: Any, name: str, longest: int) -> list[Any]:
        self.that(isinstance(value, list) and len(value) <= longest, f"{name} is not a list of at most {longest}")
        return value

    def split(self, value: Any) -> str:
        try:
            return entries.check_split(value)
        except StoreError as error:
            self.that(False, error.what)
            raise

    def counts(self, value: Any, name: str, length: int) -> np.ndarray:
        counts = self.sequence(value, name, length)
        good = len(counts) == length and all(type(item) is int and 0 <= item < 1 << 62 for item in counts)
        self.that(good, f"{name} is not a list of {length} counts")
        return np.array(counts, np.int64)

    def sha256(self, value: Any, name: str) -> str:
        good = isinstance(value, str) and _SHA256.fullmatch(value) is not None
        self.that(good, f"the sha256 of {name} is {str(value)[:70]!r}, not 64 lower-case hex digits")
        return value

    def file(self, value: Any, name: str) -> File:
        value = dict(self.mapping(value, name))
        file = value.pop("file", None)
        bare = isinstance(file, str) and _BARE.fullmatch(file) is not None and file != NAME
        self.that(bare, f"{str(file)[:60]!r} is not a bare file name")
        size = self.number(value.pop("bytes", None), f"bytes of {name}", 0, entries.MAX_FILE_BYTES)
        return File(file, size, self.sha256(value.pop("sha256", None), name), value)

    def codec(self, value: Any) -> CodecEntry:
        value = dict(self.mapping(value, "codec"))
        return CodecEntry(
            self.text(value.pop("name", None), "the name of a codec", 64),
            self.number(value.pop("rows_per_block", None), "rows_per_block", 1, entries.MAX_BLOCK_ROWS),
            self.number(value.pop("bytes", None), "bytes of a codec", 0, entries.MAX_CODEC_BYTES),
            self.sha256(value.pop("sha256", None), "a codec"),
            value,
        )

    def shard(self, value: Any, codecs: int) -> Shard:
        value = dict(self.mapping(value, "shard"))
        payload, offsets, labels = (
            self.number(value.pop(name, None), name, 0, entries.MAX_FILE_BYTES)
            for name in ("payload_bytes", "offset_bytes", "label_bytes")
        )
        return Shard(
            self.split(value.pop("split", None)),
            self.number(value.pop("rows", None), "rows of a shard", 0, entries.MAX_SHARD_ROWS),
            self.number(value.pop("codec", None), "codec of a shard", 0, codecs - 1),
            payload,
            offsets,
            labels,
            self.file(value.pop("data", None), "shard"),
            self.file(value.pop("side", None), "side table"),
            value,
        )

    def tokenizer(self, value: Any) -> dict[str, Any]:
        tokenizer = self.mapping(value, "tokenizer")
        for name in ("name", "identity"):
            self.text(tokenizer.get(name), f"tokenizer.{name}")
        self.mapping(tokenizer.get("preprocessing"), "tokenizer.preprocessing")
        return tokenizer

    def source(self, value: Any) -> dict[str, Any]:
        source = self.mapping(value, "source")
        for name in ("name", "split_rule", "terms"):
            self.text(source.get(name, ""), f"source.{name}", 1 << 20)
        for name in ("file_bytes", "payload_bytes"):
            self.number(source.get(name, 0), f"source.{name}", 0, 1 << 62)
        return source

    def created(self, value: Any) -> dict[str, Any]:
        created = self.mapping(value, "created")
        for name in ("command", "plan"):
            self.text(created.get(name, ""), f"created.{name}", 1 << 20)
        self.mapping(created.get("versions", {}), "created.versions")
        return created

    def shape(self, value: Any) -> tuple[int, ...]:
        axes = self.sequence(value, "shape", 3)
        self.that(len(axes) > 0, "shape has no axis")
        shape = tuple(self.number(axis, "an axis of the shape", 1, entries.MAX_CELLS) for axis in axes)
        self.that(
            math.prod(shape) <= entries.MAX_CELLS,
            f"the shape {list(shape)} has more than {entries.MAX_CELLS} cells",
        )
        return shape

    def class_names(self, value: Any) -> list[str]:
        names = [self.text(name, "a class name") for name in self.sequence(value, "classes", entries.MAX_CLASSES)]
        if len(set(names)) < len(names):
            seen: set[str] = set()
            twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            self.that(False, f"the class {twice[:60]!r} occurs twice")
        return names

    def codes(self, value: Any, full: int) -> np.ndarray:
        try:
            return from_ranges(self.text(value, "used_codes", entries.MAX_MANIFEST_BYTES), full)
        except ValueError as error:
            self.that(False, f"used_codes are not ranges within 0..{full - 1}: {error}")
            raise

    def manifest(self, value: dict[str, Any]) -> Manifest:
        value = {name: item for name, item in value.items() if name not in ("format", "version", "digest")}
        needs = [
            self.text(name, "an extension", 128)
            for name in self.sequence(value.pop("must_understand", []), "must_understand", 1024)
        ]
        if unknown := sorted(set(needs) - UNDERSTOOD):
            raise StoreError(
                f"needs {', '.join(unknown)}, which this seit does not know", self.where, "update seit"
            )
        full = self.number(value.pop("full_vocabulary", None), "full_vocabulary", 1, entries.MAX_VOCABULARY)
        used = self.codes(value.pop("used_codes", None), full)
        self.that(value.pop("vocabulary", None) == len(used), "vocabulary and used_codes disagree")
        labels = self.text(value.pop("labels", None), "labels")
        self.that(labels in entries.LABELS, f"labels is {labels[:20]!r}, not one of {', '.join(entries.LABELS)}")
        classes = self.class_names(value.pop("classes", None))
        codebook = value.pop("codebook", None)
        codecs = self.sequence(value.pop("codecs", None), "codecs", entries.MAX_SHARDS)
        shards = self.sequence(value.pop("shards", None), "shards", entries.MAX_SHARDS)
        class_counts = self.mapping(value.pop("class_counts", {}), "class_counts")
        manifest = Manifest(
            tokenizer=self.tokenizer(value.pop("tokenizer", None)),
            shape=self.shape(value.pop("shape", None)),
            full_vocabulary=full,
            used_codes=used,
            code_counts=self.counts(value.pop("code_counts", None), "code_counts", len(used)),
            labels=labels,
            classes=classes,
            class_counts={
                self.split(split): self.counts(counts, f"class_counts of {split}", len(classes))
                for split, counts in class_counts.items()
            },
            views=self.number(value.pop("views", 1), "views", 1, entries.MAX_VIEWS),
            source=self.source(value.pop("source", {})),
            created=self.created(value.pop("created", {})),
            codebook=None if codebook is None else self.file(codebook, "codebook"),
            metadata=self.mapping(value.pop("metadata", {}), "metadata"),
            codecs=[self.codec(item) for item in codecs],
            shards=[self.shard(item, len(codecs)) for item in shards],
            superseded=[
                self.file(item, "a superseded file")
                for item in self.sequence(value.pop("superseded", []), "superseded", 4 * entries.MAX_SHARDS)
            ],
            generation=self.number(value.pop("generation", None), "generation", 1, 1 << 53),
            must_understand=needs,
            extra=value,
        )
        self._agrees(manifest)
        return manifest

    def _agrees(self, manifest: Manifest) -> None:
        """Checks what several fields say together."""
        names = [file.file for file in (*manifest.files, *manifest.superseded)]
        self.that(len(set(names)) == len(names), "two entries name the same file")
        self.that(manifest.rows <= entries.MAX_ROWS, f"it claims more than {entries.MAX_ROWS} rows")
        self.that(all(shard.rows % manifest.views == 0 for shard in manifest.shards), "a shard cuts an image")
        ids = int(manifest.code_counts.sum())
        self.that(ids == manifest.rows * manifest.cells, f"code_counts add up to {ids}, not to all ids")
        labelled = manifest.labels != "none"
        splits = set(manifest.splits) if labelled else set()
        self.that(set(manifest.class_counts) == splits, "class_counts are not of the splits that have labels")
