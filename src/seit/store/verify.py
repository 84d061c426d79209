"""Finding every damaged byte of a store: SHA-256 names the file, each row's CRC-32 names the row."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store import labels as label_columns
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.dataset import TokenDataset
from seit.store.entries import File, Shard
from seit.store.shard import ShardReader

_CHUNK = 1024


@dataclass(frozen=True)
class Damage:
    """One damaged file.

    Attributes:
        file: its name in the store.
        what: what is wrong with it.
        rows: numbers of its damaged rows within the shard; empty if the damage lies outside every row, None if it
            cannot be told.
    """

    file: str
    what: str
    rows: list[int] | None = None

    def __str__(self) -> str:
        if self.rows is None:
            return f"{self.file}: {self.what}"
        listed = ", ".join(map(str, self.rows[:10])) + (", ..." if len(self.rows) > 10 else "")
        which = f"rows {listed}" if self.rows else "no row, only bytes outside of them"
        return f"{self.file}: {self.what} ({which})"


def verify(path: str | os.PathLike[str], decode: bool = False) -> list[Damage]:
    """Reads every byte of a token data set and names what is damaged.

    Args:
        path: its folder, or a URL, whose files are read without being kept.
        decode: also decode every row of undamaged shards and compare it with its checksum and the stored counts,
            which finds a fault of the writer or of this machine's memory rather than of the disk.

    Returns:
        One entry a damaged file, in the order of the manifest; empty if the store is whole.
    """
    try:
        data = TokenDataset(path)
    except StoreError as error:
        return [Damage(manifests.NAME, error.what)]
    manifest = data.manifest
    faults: dict[str, str] = {}
    with progress(sum(file.bytes for file in manifest.files), "verify", "bytes") as bar:
        for file in manifest.files:
            if fault := file_fault(data, file):
                faults[file.file] = fault
            bar.update(file.bytes)
    found: dict[str, Damage] = {}
    with progress(manifest.rows if decode else 0, "decode", "rows") as bar:
        for shard in manifest.shards:
            name = shard.data.file
            hidden = shard.side.file in faults or (name in faults and data.remote is not None)
            bad = damaged_rows(data, shard, hidden) if decode or name in faults else []
            if name in faults or bad or (bad is None and shard.side.file not in faults):
                found[name] = Damage(name, faults.get(name, "rows fail their checksum"), bad)
            bar.update(shard.rows if decode else 0)
    every = {name: Damage(name, what) for name, what in faults.items()} | found
    damages = [every[file.file] for file in manifest.files if file.file in every]
    if decode and not damages and (wrong := _wrong_count(data)):
        damages = [Damage(manifests.NAME, wrong)]
    return damages


def _wrong_count(data: TokenDataset) -> str:
    """Compares the manifest's derived fields with the rows; returns what differs, or ""."""
    codes, classes = counted(data)
    for split, counts in classes.items():
        if (counts != data.manifest.class_counts[split]).any():
            return f"its class_counts of {split} are not those of the rows"
    return "its code_counts are not those of the rows" if (codes != data.counts).any() else ""


def counted(data: TokenDataset) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Decodes all rows; counts their codes, int64 [K], and each split's classes, int64 [C], if labelled."""
    codes, classes = np.zeros(data.vocabulary, np.int64), {}
    for split in data.splits if data.label_kind != "none" else ():
        classes[split] = np.zeros(len(data.classes), np.int64)
    for shard in data.manifest.shards:
        reader = data.reader(shard)
        for start in range(0, shard.rows, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, shard.rows))
            codes += np.bincount(reader.decode(rows).reshape(-1), minlength=len(codes))
            if classes:
                classes[shard.split] += label_columns.count(reader.labels_at(rows), len(data.classes))
    return codes, classes


def file_fault(data: TokenDataset, file: File) -> str:
    """Returns what is wrong with a file of the store, or "" if it is whole."""
    if data.remote:
        return data.remote.fault(file)
    try:
        path = data.local(file)
        size = path.stat().st_size
        if size != file.bytes:
            return f"has {size} bytes instead of {file.bytes}"
        with open(path, "rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except StoreError as error:
        return error.what
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if digest == file.sha256 else "does not match its SHA-256"


def damaged_rows(data: TokenDataset, shard: Shard, side_damaged: bool) -> list[int] | None:
    """Decodes every row of a shard against its checksum.

    Args:
        data: the store.
        shard: of its manifest.
        side_damaged: whether the side table, which holds the checksums, is damaged too, or the shard out of reach.

    Returns:
        The rows that fail, or None if that cannot be told.
    """
    if side_damaged:
        return None
    try:
        _, checks = data.side_table(shard)
    except StoreError:
        return None
    reader = salvaged(data, shard)
    if reader is None:
        return list(range(shard.rows))
    bad: list[int] = []
    for start in range(0, shard.rows, _CHUNK):
        bad += _failing(reader, checks, np.arange(start, min(start + _CHUNK, shard.rows)))
    return bad


def salvaged(data: TokenDataset, shard: Shard) -> ShardReader | None:
    """Opens a damaged shard, with another one's codec if its own is damaged; None if it cannot be opened."""
    reader = data.salvage(shard)
    if reader is not None and reader.codec_bytes() is None:
        codec = data.codec(shard.codec)
        if codec is not None:
            reader.adopt(codec)
    return reader


def _failing(reader: ShardReader, checks: np.ndarray, rows: np.ndarray) -> list[int]:
    """Returns which of the rows do not decode or differ from their checksum, halving where decoding fails."""
    try:
        found = side.checks(reader.decode(rows), reader.labels.at(rows))
    except StoreError:
        if len(rows) == 1:
            return [int(rows[0])]
        half = len(rows) // 2
        return _failing(reader, checks, rows[:half]) + _failing(reader, checks, rows[half:])
    return rows[found != checks[rows]].tolist()
