"""Arrow IPC files of exactly one record batch, opened without trusting them.

pyarrow inflates a compressed batch when it is opened: 25 kB can become a gigabyte. So the message's own flatbuffer
is looked at first: whether its body is compressed, and how large it claims to become. (Arrow columnar format,
"Serialization and Interprocess Communication"; the field numbers are those of Message.fbs.)
"""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa

from seit import files
from seit.errors import StoreError

_MAGIC = b"ARROW1\0\0"
_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3  # Message.header, RecordBatch.buffers, RecordBatch.compression

Unreadable = (
    OSError,
    EOFError,
    pa.ArrowException,
    struct.error,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
)
"""What reading damaged bytes may raise."""


def write_batch(path: Path, columns: dict[str, pa.Array], metadata: dict[str, str], compression: str = "") -> None:
    """Writes named columns as one record batch, atomically."""
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    schema = batch.schema.with_metadata(metadata or None)
    codec = pa.Codec(compression, compression_level=9) if compression else None
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with files.atomic(path) as temporary, pa.ipc.new_file(str(temporary), schema, options=options) as out:
        out.write_batch(batch.replace_schema_metadata(metadata or None))


def read_batch(path: Path, mapped: bool, largest: int | None = None) -> pa.RecordBatch:
    """Opens a file of one record batch.

    Args:
        path: the file.
        mapped: share the file's pages; else read it into memory.
        largest: bytes that a compressed body may become; None refuses a compressed one.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: it holds another number of batches, or is compressed beyond what was said.
        Unreadable: it is damaged.
    """
    with pa.memory_map(str(path)) if mapped else pa.BufferReader(path.read_bytes()) as source:
        if source.read(len(_MAGIC)) != _MAGIC:
            raise StoreError("is not an Arrow file", str(path), "run seit verify, then seit repair")
        schema = pa.ipc.read_schema(pa.ipc.read_message(source))
        message = pa.ipc.read_message(source)
        size = inflated_bytes(message)
        if size is not None and (largest is None or size > largest):
            allowed = "none" if largest is None else f"{largest} bytes"
            raise StoreError(
                f"is compressed to become {size} bytes; allowed: {allowed}",
                str(path),
                "do not use it, or repair it",
            )
        batch = pa.ipc.read_record_batch(message, schema)
        try:
            pa.ipc.read_message(source)
        except EOFError:
            return batch
    raise StoreError("holds more than one record batch", str(path), "run seit verify, then seit repair")


def inflated_bytes(message: pa.Message) -> int | None:
    """Returns how large a record batch's compressed body says it becomes, or None if it is not compressed."""
    table = bytes(message.metadata)
    batch = _table(table, _field(table, _u32(table, 0), _HEADER))
    if not _field(table, batch, _COMPRESSION):
        return None
    vector = _table(table, _field(table, batch, _BUFFERS))
    body, total = memoryview(message.body), 0
    for i in range(_u32(table, vector)):
        offset, length = struct.unpack_from("<qq", table, vector + 4 + 16 * i)
        if length >= 8:  # a compressed buffer begins with its inflated size, -1 where it was left alone
            (size,) = struct.unpack_from("<q", body, offset)
            total += length if size == -1 else size
    return total


def _u32(data: bytes, place: int) -> int:
    return struct.unpack_from("<I", data, place)[0]


def _field(data: bytes, table: int, number: int) -> int:
    """Returns where field `number` of a flatbuffer table lies, 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", data, vtable + entry)[0]
    return table + offset if offset else 0


def _table(data: bytes, place: int) -> int:
    """Follows a flatbuffer reference."""
    if not place:
        raise ValueError("a flatbuffer field is missing")
    return place + _u32(data, place)
