"""What a row is besides its ids and label: the side table of source names, sizes, hashes and views.

It lies beside each shard as a zstd-compressed Arrow file that training never opens. Its `check` column is a
CRC-32 of each row's ids and label, so that `verify` names the damaged row and a re-coding proves itself lossless.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from seit.errors import StoreError
from seit.store import ipc

_NUMBERS = {
    "source_bytes": np.uint32,
    "source_payload_bytes": np.uint32,
    "source_hash": np.uint64,
    "width": np.uint32,
    "height": np.uint32,
}
_ROW_BYTES = 4096 + 128  # a name and all numbers of a row: what a side table may inflate to


@dataclass
class RowTable:
    """Where n rows came from, one entry a row.

    Attributes:
        name: [n] stable keys, the path inside the source.
        source_bytes: [n] size of the source file, bytes.
        source_payload_bytes: [n] the same without JPEG headers and tables.
        source_hash: [n] 64-bit hash of the file (XXH3).
        width, height: [n] of the source image, pixels.
        crop: [n, 4] int32 (top, left, height, width) of the view in source pixels, or None: the whole image.
        flip: [n] bool, the view was mirrored left to right, or None: no row was.
    """

    name: list[str]
    source_bytes: np.ndarray
    source_payload_bytes: np.ndarray
    source_hash: np.ndarray
    width: np.ndarray
    height: np.ndarray
    crop: np.ndarray | None = None
    flip: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.name)

    def __post_init__(self) -> None:
        n = len(self.name)
        for key, dtype in _NUMBERS.items():
            value = np.asarray(getattr(self, key))
            if len(value) != n or (value.dtype != dtype and n and (value.min() < 0 or value.max() > _most(dtype))):
                raise StoreError(f"{key} is not [{n}] integers of type {np.dtype(dtype)}", "row table", "mend it")
            setattr(self, key, value.astype(dtype))
        if self.crop is not None:
            self.crop = np.asarray(self.crop, np.int32).reshape(n, 4)
        if self.flip is not None:
            self.flip = np.asarray(self.flip, bool).reshape(n)

    @classmethod
    def named(cls, names: list[str]) -> RowTable:
        """Returns a table that knows nothing but names: zeros elsewhere."""
        zeros = np.zeros(len(names), np.int64)
        return cls(list(names), zeros, zeros, zeros, zeros, zeros)

    def take(self, rows: np.ndarray) -> RowTable:
        """Returns the table of the given rows, in that order."""
        picked: dict[str, Any] = {
            f.name: None if getattr(self, f.name) is None else getattr(self, f.name)[rows]
            for f in fields(self)
            if f.name != "name"
        }
        return RowTable([self.name[i] for i in rows], **picked)

    @staticmethod
    def join(tables: list[RowTable]) -> RowTable:
        """Returns the tables one after another."""
        joined: dict[str, Any] = {}
        for f in fields(RowTable)[1:]:
            parts = [getattr(table, f.name) for table in tables]
            if any((part is None) != (parts[0] is None) for part in parts):
                raise StoreError(f"some rows record {f.name} and others do not", "row tables", "record it for all")
            joined[f.name] = None if parts[0] is None else np.concatenate(parts)
        return RowTable([name for table in tables for name in table.name], **joined)

    def columns(self) -> dict[str, pa.Array]:
        """Returns the table as named Arrow columns."""
        columns = {"name": pa.array(self.name, pa.string())}
        columns |= {key: pa.array(getattr(self, key)) for key in _NUMBERS}
        if self.crop is not None:
            columns["crop"] = pa.FixedSizeListArray.from_arrays(pa.array(self.crop.reshape(-1)), 4)
        if self.flip is not None:
            columns["flip"] = pa.array(self.flip)
        return columns

    @classmethod
    def from_columns(cls, batch: pa.RecordBatch) -> RowTable:
        """Reads the table back from a batch that holds at least its columns."""
        numbers = {key: batch.column(key).to_numpy(zero_copy_only=False) for key in _NUMBERS}
        crop = flip = None
        if "crop" in batch.schema.names:
            crop = batch.column("crop").flatten().to_numpy(zero_copy_only=False)
        if "flip" in batch.schema.names:
            flip = batch.column("flip").to_numpy(zero_copy_only=False)
        return cls(batch.column("name").to_pylist(), crop=crop, flip=flip, **numbers)


def _most(dtype: type) -> int:
    return int(np.iinfo(dtype).max)


def checks(ids: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Returns each row's CRC-32, uint32 [n], of its ids and then its label.

    A label is summed as int64: its class, or the classes that are not zero in ascending order, followed by their
    float32 weights where it is soft. So it does not change when classes are added.

    Args:
        ids: [n, h, w] stored ids, uint16 or uint32; their little-endian bytes are summed.
        labels: int64 [n], bool [n, C], float32 [n, C] or None.
    """
    ids = np.ascontiguousarray(ids, ids.dtype.newbyteorder("<"))
    out = np.empty(len(ids), np.uint32)
    for i, row in enumerate(ids):
        out[i] = zlib.crc32(row.data)
    if labels is None:
        return out
    for i, label in enumerate(labels):
        classes = np.atleast_1d(label) if labels.ndim == 1 else np.flatnonzero(label)
        out[i] = zlib.crc32(classes.astype("<i8").tobytes(), int(out[i]))
        if labels.dtype == np.float32:
            out[i] = zlib.crc32(label[classes].astype("<f4").tobytes(), int(out[i]))
    return out


def write_side(path: Path, table: RowTable, check: np.ndarray) -> None:
    """Writes the side table of one shard, zstd-compressed, atomically."""
    ipc.write_batch(path, table.columns() | {"check": pa.array(check)}, {}, "zstd")


def read_side(path: Path, rows: int) -> tuple[RowTable, np.ndarray]:
    """Reads the side table of one shard and its checks, uint32 [rows].

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: it is damaged or has another number of rows.
    """
    try:
        batch = ipc.read_batch(path, True, largest=rows * _ROW_BYTES + (1 << 16))
        batch.validate(full=True)
        table = RowTable.from_columns(batch)
        check = batch.column("check").to_numpy(zero_copy_only=False)
    except FileNotFoundError:
        raise
    except ipc.Unreadable as error:
        raise StoreError(f"cannot be read ({str(error)[:120]})", str(path), "run seit repair") from None
    if len(table) != rows or check.dtype != np.uint32:
        raise StoreError(f"has {len(table)} rows, the manifest says {rows}", str(path), "run seit repair")
    return table, check
