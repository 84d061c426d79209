"""Finding every damaged byte of a store: SHA-256 names the file, each row's CRC-32 names the row."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.dataset import TokenDataset
from seit.store.manifest import File, Shard
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
        path: its folder.
        decode: also decode every row of undamaged shards and compare it with its checksum, which finds a fault of
            the writer or of this machine's memory rather than of the disk.

    Returns:
        One entry a damaged file, in the order of the manifest; empty if the store is whole.
    """
    try:
        data = TokenDataset(path)
    except StoreError as error:
        return [Damage(manifests.NAME, error.what)]
    manifest, folder = data.manifest, Path(path)
    with progress(sum(file.bytes for file in manifest.files), "verify", "bytes") as bar:
        faults = {}
        for file in manifest.files:
            fault = check_file(folder, file)
            if fault:
                faults[file.file] = fault
            bar.update(file.bytes)
    found = [Damage(name, what) for name, what in faults.items() if name not in _shard_names(data)]
    for shard in manifest.shards:
        whole = shard.data.file not in faults
        if whole and not decode:
            continue
        bad = damaged_rows(data, shard) if shard.rows else []
        if not whole or bad or bad is None:
            found.append(Damage(shard.data.file, faults.get(shard.data.file, "rows fail their checksum"), bad))
    return sorted(found, key=lambda damage: [file.file for file in manifest.files].index(damage.file))


def _shard_names(data: TokenDataset) -> set[str]:
    return {shard.data.file for shard in data.manifest.shards}


def check_file(folder: Path, file: File) -> str:
    """Returns what is wrong with a file of the store, or "" if it is whole."""
    path = folder / file.file
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"has {size} bytes instead of {file.bytes}"
        with open(path, "rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if digest == file.sha256 else "does not match its SHA-256"


def damaged_rows(data: TokenDataset, shard: Shard) -> list[int] | None:
    """Decodes every row of a shard against its checksum.

    Returns:
        The rows that fail, or None if the side table, which holds the checksums, is damaged too.
    """
    try:
        _, wanted = side.read_side(data.local(shard.side), shard.rows)
        if check_file(data.local(shard.side).parent, shard.side):
            return None
    except StoreError:
        return None
    try:
        reader = data.reader(shard)
    except StoreError:
        return list(range(shard.rows))
    bad: list[int] = []
    for start in range(0, shard.rows, _CHUNK):
        bad += _failing(reader, wanted, np.arange(start, min(start + _CHUNK, shard.rows)))
    return bad


def _failing(reader: ShardReader, wanted: np.ndarray, rows: np.ndarray) -> list[int]:
    """Returns which of the rows do not decode or differ from their checksum, halving where decoding fails."""
    try:
        found = side.checks(reader.decode(rows), reader.labels.at(rows))
    except StoreError:
        if len(rows) == 1:
            return [int(rows[0])]
        half = len(rows) // 2
        return _failing(reader, wanted, rows[:half]) + _failing(reader, wanted, rows[half:])
    return rows[found != wanted[rows]].tolist()
