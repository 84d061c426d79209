"""One shard: payloads and labels of consecutive rows of one split, as a memory-mapped Arrow IPC file.

An Arrow row is one block of the codec: one image if every row decodes alone, else `rows_per_block` images, whose
labels are then a list. The offsets buffer of the `payload` column is the paper's start index (section 3.1). Schema
metadata carries what decoding needs, the codec's tables included, so that no shard depends on another file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from seit.errors import CodecError, StoreError
from seit.store import ipc
from seit.store import labels as label_columns
from seit.store.entries import MAX_CODEC_BYTES, MAX_FILE_BYTES, CodecEntry, Manifest, Shard

FORMAT = "seit-tokens-shard"
_CURE = "run seit verify, then seit repair"


@dataclass(frozen=True)
class Coded:
    """Rows as a codec left them.

    Attributes:
        payload: uint8 [P], all blocks one after another.
        offsets: int64 [blocks + 1], where each block starts.
        codec: the codec's bytes.
        rows_per_block: rows that share one block.
    """

    payload: np.ndarray
    offsets: np.ndarray
    codec: bytes
    rows_per_block: int


def write_shard(
    path: Path, coded: Coded, labels: dict[str, pa.Array], split: str, first_row: int, rows: int, manifest: Manifest
) -> dict[str, int]:
    """Writes one shard atomically.

    Args:
        path: the file to write.
        coded: the payloads.
        labels: columns of one entry a row.
        split: the rows' split.
        first_row: number of the first row within the split.
        rows: how many rows.
        manifest: of the store; its shape and vocabulary are recorded.

    Returns:
        payload_bytes, offset_bytes and label_bytes.

    Raises:
        StoreError: the payload is larger than Arrow's 32-bit offsets reach.
    """
    if len(coded.payload) > MAX_FILE_BYTES:
        raise StoreError(f"a payload of {len(coded.payload)} bytes", str(path), "write smaller shards")
    blocks = len(coded.offsets) - 1
    offsets = np.ascontiguousarray(coded.offsets, np.int32)
    payload = np.ascontiguousarray(coded.payload, np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(payload)]
    columns = {"payload": pa.Array.from_buffers(pa.binary(), blocks, buffers)}
    columns["check"] = pa.array(block_checks(payload, offsets, np.arange(blocks)))
    for name, column in labels.items():
        if coded.rows_per_block > 1:
            starts = np.minimum(np.arange(blocks + 1, dtype=np.int64) * coded.rows_per_block, len(column))
            column = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), column)
        columns[name] = column
    about = {
        "format": FORMAT,
        "version": 1,
        "split": split,
        "first_row": first_row,
        "rows": rows,
        "shape": list(manifest.shape),
        "vocabulary": manifest.vocabulary,
        "labels": "none" if not labels else manifest.labels,
        "label_check": label_columns.check(labels),
        "rows_per_block": coded.rows_per_block,
        "codec": base64.b64encode(coded.codec).decode(),
    }
    ipc.write_batch(path, columns, {"seit": json.dumps(about)})
    return {
        "payload_bytes": len(payload),
        "offset_bytes": offsets.nbytes,
        "label_bytes": sum(column.nbytes for name, column in columns.items() if name in labels),
    }


def block_checks(payload: np.ndarray, offsets: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Returns the low 32 bits of XXH3-64 of each given block's bytes, uint32 [blocks]."""
    view = payload.data
    bounds = zip(offsets[blocks].tolist(), offsets[blocks + 1].tolist(), strict=True)
    hash64 = xxhash.xxh3_64_intdigest
    return np.array([hash64(view[start:stop]) & 0xFFFFFFFF for start, stop in bounds], np.uint32)


class ShardReader:
    """An open shard: decodes any of its rows; a mapped one holds file-backed pages only.

    Args:
        path: the local file.
        entry: the manifest's entry.
        manifest: the store's.
        load_codec: returns the codec that some bytes stand for; called when ids are first asked for.
        mapped: share the file's pages; else read the file into memory.
        check: compare each block and the labels with their checksums before they are used.
        salvage: open it even if its description of itself is damaged; its codec must then be `adopt`ed.

    Attributes:
        labels: the rows' labels.
        payload: uint8 [P].
        offsets: int32 [blocks + 1].

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the file is not what the manifest says.
    """

    def __init__(
        self,
        path: Path,
        entry: Shard,
        manifest: Manifest,
        load_codec: Callable[[bytes], Any],
        mapped: bool = True,
        check: bool = True,
        salvage: bool = False,
    ) -> None:
        self.where, self._load, self._check = str(path), load_codec, check
        self._codec: Any = None
        self.entry = manifest.codecs[entry.codec]
        self.rows, self._per_block = entry.rows, self.entry.rows_per_block
        try:
            size = path.stat().st_size
            if size != entry.data.bytes:
                raise self._damage(f"has {size} bytes, the manifest says {entry.data.bytes}")
            batch = ipc.read_batch(path, mapped)
            batch.validate()
            self.about = self._read_about(batch, entry, manifest, salvage)
            blocks = -(-entry.rows // self._per_block)
            self._payload_column(batch.column("payload"), blocks)
            if len(self.payload) != entry.payload_bytes:
                raise self._damage(f"holds {len(self.payload)} bytes of payload, not {entry.payload_bytes}")
            self._checks = label_columns.plain(batch.column("check"), np.uint32)
            if batch.column("check").type != pa.uint32() or len(self._checks) != blocks:
                raise self._damage("its check column is not one uint32 a block")
            columns = {name: batch.column(name) for name in ("label", "weight") if name in batch.schema.names}
            if self._per_block > 1:
                columns = {name: column.values for name, column in columns.items()}
            self.labels = label_columns.LabelReader(
                columns, manifest.labels, len(manifest.classes), entry.rows, self.where
            )
            self._label_check: int | None = self.about.get("label_check") if check else None
        except FileNotFoundError:
            raise
        except ipc.Unreadable as error:
            raise self._damage(f"is not a readable shard ({str(error)[:120]})") from None

    def _read_about(self, batch: pa.RecordBatch, entry: Shard, manifest: Manifest, salvage: bool) -> dict[str, Any]:
        """Reads what the shard says of itself, and checks that the manifest says the same."""
        theirs = {
            "split": entry.split,
            "rows": entry.rows,
            "shape": list(manifest.shape),
            "rows_per_block": self._per_block,
        }
        try:
            about = parse_about((batch.schema.metadata or {}).get(b"seit", b""))
            for name, value in theirs.items():
                if about.get(name) != value:
                    what = f"says its {name} is {str(about.get(name))[:40]}, the manifest says {value}"
                    raise self._damage(what)
        except (StoreError, ValueError):
            if not salvage:
                raise
            return {}
        return about

    def _payload_column(self, column: pa.Array, blocks: int) -> None:
        if column.type != pa.binary() or len(column) != blocks or column.null_count or column.offset:
            raise self._damage(f"its payload column is {column.type} of {len(column)} blocks, not {blocks}")
        _, starts, data = column.buffers()
        offsets = np.frombuffer(starts, np.int32) if starts is not None else np.zeros(1, np.int32)
        if len(offsets) < blocks + 1:
            raise self._damage("its offsets are cut short")
        self.offsets = offsets[: blocks + 1]
        payload = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        self.payload = payload[: max(0, int(self.offsets[-1]))]

    def codec(self) -> Any:
        """Returns the codec of the payloads, loading the one that the shard carries the first time.

        Raises:
            StoreError: its bytes are damaged.
        """
        if self._codec is None:
            data = self.codec_bytes()
            if data is None:
                raise self._damage("its codec does not match its SHA-256")
            self.adopt(self._load(data))
        return self._codec

    def codec_bytes(self) -> bytes | None:
        """Returns the bytes of the codec that the shard carries, or None if they are damaged."""
        try:
            data = base64.b64decode(self.about.get("codec", ""), validate=True)
        except ValueError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.entry.sha256 else None

    def adopt(self, codec: Any) -> None:
        """Decodes with a codec that is equal to the one which the shard should carry."""
        if codec.rows_per_block != self._per_block:
            raise self._damage(f"its codec puts {codec.rows_per_block} rows into a block, not {self._per_block}")
        self._codec = codec

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Returns the ids of the given rows of this shard, [n, h, w].

        Raises:
            StoreError: the bytes of a row are damaged.
        """
        if self._check and len(rows):
            self._check_blocks(rows)
        try:
            return self.codec().decode(self.payload, self.offsets, rows)
        except CodecError as error:
            raise StoreError(error.what, f"{self.where} {error.where}", _CURE) from None

    def _check_blocks(self, rows: np.ndarray) -> None:
        blocks = rows if self._per_block == 1 else np.unique(rows // self._per_block)
        wrong = block_checks(self.payload, self.offsets, blocks) != self._checks[blocks]
        if wrong.any():
            first = int(blocks[wrong][0]) * self._per_block
            last = min(first + self._per_block, self.rows) - 1
            which = f"row {first} does" if first == last else f"rows {first} to {last} do"
            raise self._damage(
                f"{which} not match their checksum" if last > first else f"{which} not match its checksum"
            )

    def labels_at(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the labels of the given rows; see `seit.store.labels`.

        Raises:
            StoreError: they are damaged.
        """
        if self._label_check is not None:
            if self.labels.check() != self._label_check:
                raise self._damage("its labels do not match their checksum")
            self._label_check = None
        return self.labels.at(rows)

    def row_bytes(self) -> np.ndarray:
        """Returns the payload bytes of each row, float64 [rows]; rows of one block share its bytes."""
        lengths = np.diff(self.offsets.astype(np.int64))
        counts = np.minimum(self._per_block, self.rows - np.arange(len(lengths)) * self._per_block)
        return np.repeat(lengths / counts, counts)

    def _damage(self, what: str) -> StoreError:
        return StoreError(what, self.where, _CURE)


def parse_about(text: bytes) -> dict[str, Any]:
    """Parses the shard's own description.

    Raises:
        ValueError: it is absent or of another version.
    """
    about = json.loads(text or b"null")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError("it does not describe itself as a shard of token data")
    if about.get("version") != 1:
        raise ValueError(f"it is a shard of version {str(about.get('version'))[:20]}; update seit")
    if not isinstance(about.get("codec"), str) or len(about["codec"]) > 2 * MAX_CODEC_BYTES:
        raise ValueError("it carries no codec")
    return about


def entry_of(codec: Any) -> CodecEntry:
    """Returns the manifest's entry of a fitted codec."""
    data = codec.to_bytes()
    return CodecEntry(codec.name, codec.rows_per_block, len(data), hashlib.sha256(data).hexdigest())
