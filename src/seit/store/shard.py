"""One shard: payloads and labels of consecutive rows of one split, as a memory-mapped Arrow IPC file.

An Arrow row is one block of the codec: one image if every row decodes alone, else `rows_per_block` images, whose
labels are then a list. The offsets buffer of the `payload` column is the paper's start index (section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from seit import files
from seit.errors import SeitError, StoreError
from seit.store import labels as label_columns
from seit.store.manifest import MAX_SHARD_BYTES, Manifest, Shard


def write_shard(
    path: Path, payload: np.ndarray, offsets: np.ndarray, labels: dict[str, pa.Array], rows_per_block: int
) -> dict[str, int]:
    """Writes one shard atomically and returns its payload, offset and label bytes.

    Args:
        path: the file to write.
        payload: uint8 [P], all blocks one after another.
        offsets: [blocks + 1] where each block starts.
        labels: columns of one entry a row.
        rows_per_block: rows that share one payload.

    Raises:
        StoreError: the payload is larger than Arrow's 32-bit offsets reach.
    """
    if len(payload) > MAX_SHARD_BYTES:
        raise StoreError(f"a payload of {len(payload)} bytes", str(path), "write smaller shards")
    blocks = len(offsets) - 1
    narrow = np.ascontiguousarray(offsets, np.int32)
    buffers = [None, pa.py_buffer(narrow), pa.py_buffer(np.ascontiguousarray(payload, np.uint8))]
    columns = {"payload": pa.Array.from_buffers(pa.binary(), blocks, buffers)}
    for name, column in labels.items():
        if rows_per_block > 1:
            starts = np.minimum(np.arange(blocks + 1, dtype=np.int64) * rows_per_block, len(column))
            column = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), column)
        columns[name] = column
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    with files.atomic(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as out:
        out.write_batch(batch)
    return {
        "payload_bytes": len(payload),
        "offset_bytes": narrow.nbytes,
        "label_bytes": sum(column.nbytes for name, column in columns.items() if name != "payload"),
    }


class ShardReader:
    """A mapped shard: decodes any of its rows; holds file-backed pages only.

    Args:
        path: the local file.
        entry: what the manifest says of it.
        manifest: the store's.
        codec: returns the codec of the payloads; called when first ids are asked for.

    Raises:
        StoreError: the file is absent, or not what the manifest says.
    """

    def __init__(self, path: Path, entry: Shard, manifest: Manifest, codec: Callable[[], Any]) -> None:
        self.where, self.codec = str(path), codec
        per_block = manifest.codecs[entry.codec].rows_per_block
        try:
            size = path.stat().st_size
            if size != entry.data.bytes:
                raise self._damage(f"has {size} bytes, the manifest says {entry.data.bytes}")
            with pa.memory_map(self.where) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
            batch.validate()
            self._payload_column(batch.column("payload"), -(-entry.rows // per_block))
            columns = {name: batch.column(name) for name in ("label", "weight") if name in batch.schema.names}
            if per_block > 1:
                columns = {name: column.values for name, column in columns.items()}
            self.labels = label_columns.LabelReader(
                columns, manifest.labels, len(manifest.classes), entry.rows, self.where
            )
        except FileNotFoundError:
            raise StoreError("is missing", self.where, "run seit repair, or copy the data set again") from None
        except (OSError, pa.ArrowException, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise self._damage(f"is not a readable shard ({str(error)[:120]})") from None

    def _payload_column(self, column: pa.Array, blocks: int) -> None:
        if column.type != pa.binary() or len(column) != blocks or column.null_count or column.offset:
            raise self._damage(f"its payload column is {column.type} of {len(column)} blocks, not {blocks}")
        _, starts, data = column.buffers()
        offsets = np.frombuffer(starts, np.int32) if starts is not None else np.zeros(1, np.int32)
        self.payload = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        if len(offsets) < blocks + 1:
            raise self._damage("its offsets are cut short")
        self.offsets = offsets[: blocks + 1]

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Returns the ids of the given rows of this shard, [n, h, w].

        Raises:
            StoreError: the bytes of a row are damaged.
        """
        try:
            return self.codec().decode(self.payload, self.offsets, rows)
        except SeitError as error:
            raise StoreError(
                error.what, f"{self.where} {error.where}", "run seit verify, then seit repair"
            ) from None

    def _damage(self, what: str) -> StoreError:
        return StoreError(what, self.where, "run seit verify, then seit repair")
