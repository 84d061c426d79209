"""The codec contract: a grid of ids <-> bytes. A codec knows nothing of files; it is one file in this folder.

A shard's rows are coded in blocks: `rows_per_block` rows that share one coder state (4 bytes) and one start index.
Of grids of more than 512 cells a row is a block of its own and decodes alone; of smaller grids so many share a
block that it holds about 1,024 ids, because state and index would else be a tenth of its bytes (`default_rows`).
Only the last block of a shard may be short; its row count then follows it as one more byte, so that its length is
odd.

Start indices: `offsets` are byte positions into the payload, block k being payload[offsets[k]:offsets[k + 1]].
`decode` takes any integer dtype and touches only the entries it needs, so a store may keep a shard's offsets
memory-mapped.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seit.errors import CodecError

Array = NDArray[Any]

MAX_VOCABULARY = 1 << 18
MAX_CELLS = 1 << 16
"""Ids of a block: a hostile header cannot make a decoder allocate more than 256 KiB a block."""
BITS = 14
"""log2 of the total of a distribution's frequencies: two words of coder state allow that before rounding shows."""
NAMED = 0
"""The mode of a codec that another package brings: its file names it."""

MAX_ROWS = 255
"""Rows of a block: the count of a short one is a byte."""

_MAGIC = b"seitids1"
_HEADER = struct.Struct("<8sBBHIHH")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_STATE_WORDS = 2
_CHUNK = 256
"""Blocks below which a thread would cost more than it brings."""


def id_type(vocabulary: int) -> np.dtype[Any]:
    """Returns the dtype of ids 0..vocabulary-1: uint16, or uint32 above 65,536."""
    return np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)


def default_rows(grid: tuple[int, int]) -> int:
    """Returns how many rows share coder state where nothing else is said: as many as make about 1024 ids."""
    return max(1, min(MAX_ROWS, 1024 // (grid[0] * grid[1])))


class Header(NamedTuple):
    """What stands before a codec's tables; `read_header` has checked it.

    Attributes:
        mode: which code, see `Codec.mode`.
        name: of a code that another package brings, else "".
        vocabulary: K.
        grid: (h, w).
        rows_per_block: R.
        counts: what the code says of its tables' sizes.
    """

    mode: int
    name: str
    vocabulary: int
    grid: tuple[int, int]
    rows_per_block: int
    counts: bytes


class Codec(ABC):
    """Tables fitted to some ids, which code those and any other ids of the vocabulary without loss.

    A codec of another package has a `name` ([a-z0-9._-], at most 64 characters) and leaves `mode` as it is; its
    entry point in the group `seit.codecs` is called like it and gives the class.

    Args:
        vocabulary: K; ids are 0..K-1.
        grid: (h, w).
        rows_per_block: rows that share coder state; 0 for the usual number.

    Raises:
        CodecError: beyond the format's limits.
    """

    mode: ClassVar[int] = NAMED
    name: str

    def __init__(self, vocabulary: int, grid: tuple[int, int], rows_per_block: int = 0) -> None:
        h, w = (int(side) for side in grid)
        if not 2 <= vocabulary <= MAX_VOCABULARY:
            raise CodecError(
                f"vocabulary {vocabulary}", "codec", f"a codec takes 2 to {MAX_VOCABULARY} ids, numbered from 0"
            )
        if h < 1 or w < 1 or h * w > MAX_CELLS:
            raise CodecError(f"grid {h} x {w}", "codec", f"a grid has 1 to {MAX_CELLS} cells")
        rows = rows_per_block or default_rows((h, w))
        if not 1 <= rows <= MAX_ROWS or rows * h * w > MAX_CELLS:
            raise CodecError(
                f"blocks of {rows} rows", "codec", f"a block has 1 to {MAX_ROWS} rows and up to {MAX_CELLS} ids"
            )
        self.vocabulary, self.grid, self.rows_per_block = int(vocabulary), (h, w), int(rows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of decoded ids, see `id_type`."""
        return id_type(self.vocabulary)

    @classmethod
    def fit(cls, ids: Array, vocabulary: int) -> Codec:
        """Fits a codec to ids [n, h, w]; what `seit.codecs.fit` calls of a code that another package brings.

        Raises:
            CodecError: the class has none.
        """
        raise CodecError(f"{cls.name} has no `fit`", "codec", "the package that brings it must define it")

    @classmethod
    @abstractmethod
    def load(cls, header: Header, tables: bytes) -> Codec:
        """Rebuilds a codec from what `body` gave; both may be hostile (`arrays_of` inflates the tables).

        Raises:
            CodecError: they are damaged.
        """

    @abstractmethod
    def body(self) -> tuple[bytes, bytes]:
        """Returns the fitted tables as (a few counts, all the rest); see `to_bytes`."""

    @abstractmethod
    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Codes ids [n, cells] of whole blocks, of the codec's dtype; returns (words, how many each block has)."""

    @abstractmethod
    def decode_blocks(self, words: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        """Decodes blocks into `out` [n, cells]; returns which of them ended as an encoder ends them.

        Must be safe for any words, and should release the interpreter's lock. Blocks run from `starts` to `ends`,
        counted in words; each has two words or more, all of them inside `words`.
        """

    def to_bytes(self) -> bytes:
        """Returns the whole codec as bytes for `seit.codecs.load`; every total that we print includes them."""
        counts, tables = self.body()
        if self.mode == NAMED:
            counts = bytes([len(self.name)]) + self.name.encode() + counts
        head = _HEADER.pack(_MAGIC, self.mode, len(counts), self.rows_per_block, self.vocabulary, *self.grid)
        return head + counts + zlib.compress(tables, 9)

    def encode(self, ids: Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Codes the rows of one shard.

        Args:
            ids: integers [n, h, w] in 0..K-1.

        Returns:
            (payload uint8 [P], offsets int64 [blocks + 1] in bytes).

        Raises:
            CodecError: wrong shape, or an id outside the vocabulary.
        """
        ids = np.ascontiguousarray(check_ids(ids, self.vocabulary, self.grid), self.dtype)
        blocks, over = divmod(len(ids), self.rows_per_block)
        whole = ids[: len(ids) - over].reshape(blocks, -1 if blocks else 1)
        coded = _map(self.encode_blocks, [whole[i : i + _CHUNK] for i in range(0, blocks, _CHUNK)])
        if over:
            coded.append(self.encode_blocks(ids[-over:].reshape(1, -1)))
        words = np.concatenate([np.zeros(0, np.uint16), *(part for part, _ in coded)])
        payload = words.astype("<u2", copy=False).view(np.uint8)
        lengths = 2 * np.concatenate([np.zeros(1, np.int64), *(part for _, part in coded)])
        if over:
            payload, lengths[-1] = np.append(payload, np.uint8(over)), lengths[-1] + 1
        return payload, np.cumsum(lengths)

    def decode(self, payload: Array, offsets: Array, rows: Array, out: Array | None = None) -> Array:
        """Decodes any rows of a shard, in any order, in several threads when there are many (see `_map`).

        Args:
            payload: uint8 [P] of the shard.
            offsets: integers [blocks + 1], see the module's note.
            rows: integers [m], row numbers within the shard.
            out: [m, h, w] of the codec's dtype to fill, C-contiguous; a new array if None.

        Returns:
            ids [m, h, w], uint16 (uint32 for vocabularies above 65,536).

        Raises:
            CodecError: a row that is not there, or bytes that do not decode; the message names the row.
        """
        rows = np.asarray(rows, np.int64).reshape(-1)
        if out is None:
            out = np.empty((len(rows), *self.grid), self.dtype)
        if out.shape != (len(rows), *self.grid) or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise CodecError(
                f"out is {out.dtype} {out.shape}",
                "decode",
                f"pass a contiguous {self.dtype} {(len(rows), *self.grid)}",
            )
        if not len(rows):
            return out
        if self.rows_per_block == 1:
            self._decode(payload, rows, *self._bounds(payload, offsets, rows), out.reshape(len(rows), -1))
            return out
        numbers, place = np.unique(rows // self.rows_per_block, return_inverse=True)
        out[...] = self._blocks(payload, offsets, numbers, rows)[place, rows % self.rows_per_block]
        return out

    def _blocks(self, payload: Array, offsets: Array, numbers: Array, rows: Array) -> Array:
        """Decodes blocks of several rows, [n, R, h, w]; of a shard's last one it may fill a part."""
        starts, ends = self._bounds(payload, offsets, numbers)
        blocks = np.empty((len(numbers), self.rows_per_block, *self.grid), self.dtype)
        full = len(numbers)
        if numbers[-1] == len(offsets) - 2 and (ends[-1] - starts[-1]) % 2:  # the shard's last one, and short
            full, count = full - 1, int(payload[ends[-1] - 1])
            if not 1 <= count < self.rows_per_block:
                raise self._damage(numbers[-1])
            if rows.max() % self.rows_per_block >= count:
                raise CodecError(
                    f"row {rows.max()} is not there", "shard", "the shard has fewer rows or is damaged"
                )
            part = blocks[full:, :count].reshape(1, -1)
            self._decode(payload, numbers[full:], starts[full:], ends[full:] - 1, part)
        if full:
            self._decode(payload, numbers[:full], starts[:full], ends[:full], blocks[:full].reshape(full, -1))
        return blocks

    def _bounds(self, payload: Array, offsets: Array, numbers: Array) -> tuple[Array, Array]:
        """Returns where blocks start and end in the payload, in bytes."""
        if numbers.min() < 0 or numbers.max() >= len(offsets) - 1:
            row = int(numbers.min() if numbers.min() < 0 else numbers.max()) * self.rows_per_block
            raise CodecError(f"row {row} is not there", "shard", f"it has {len(offsets) - 1} blocks")
        starts, ends = np.asarray(offsets[numbers], np.int64), np.asarray(offsets[numbers + 1], np.int64)
        wrong = (starts < 0) | (ends > len(payload)) | (ends - starts < 2 * _STATE_WORDS)
        if wrong.any():
            raise self._damage(numbers[wrong][0])
        return starts, ends

    def _decode(self, payload: Array, numbers: Array, starts: Array, ends: Array, out: Array) -> None:
        """Decodes blocks of equally many rows that `_bounds` has checked into `out` [n, cells]."""
        uneven = (starts | ends) % 2 == 1
        if uneven.any():
            raise self._damage(numbers[uneven][0])
        payload = np.ascontiguousarray(payload, np.uint8)
        words = payload[: len(payload) // 2 * 2].view("<u2").astype(np.uint16, copy=False).view()
        words.flags.writeable = False  # as a mapped one is: kernels are compiled for one kind of array
        parts = [slice(i, i + _CHUNK) for i in range(0, len(numbers), _CHUNK)]
        good = _map(lambda part: self.decode_blocks(words, starts[part] >> 1, ends[part] >> 1, out[part]), parts)
        for part, ended in zip(parts, good, strict=True):
            if not ended.all():
                raise self._damage(numbers[part][~ended][0])

    def _damage(self, number: int) -> CodecError:
        row = int(number) * self.rows_per_block
        which = f"row {row}" if self.rows_per_block == 1 else f"rows {row} to {row + self.rows_per_block - 1}"
        return CodecError(f"{which} do not decode", "shard", "the shard is damaged; create it again or repair it")


def _map(task: Callable[[Any], Any], parts: list[Any]) -> list[Any]:
    """Applies a task that releases the interpreter's lock to all parts, in as many threads as this process may use.

    That is a core each, but no more than `OMP_NUM_THREADS`, by which others are limited too.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    threads = min(len(parts), cores, int(limit) if limit.isdigit() and int(limit) else cores)
    if threads <= 1:
        return [task(part) for part in parts]
    # a pool of this call alone: one that outlived it would hang in a forked child
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, parts))


def check_ids(ids: Array, vocabulary: int, grid: tuple[int, int] | None = None) -> Array:
    """Checks ids at the door: integers [n, h, w] in 0..vocabulary-1 (and of that grid).

    Raises:
        CodecError: otherwise.
    """
    ids = np.asarray(ids)
    if ids.ndim != 3 or ids.dtype.kind not in "iu" or (grid is not None and ids.shape[1:] != grid):
        want = "[n, h, w]" if grid is None else f"[n, {grid[0]}, {grid[1]}]"
        raise CodecError(f"ids are {ids.dtype} {list(ids.shape)}", "codec", f"pass integers {want}")
    if ids.size and (ids.min() < 0 or ids.max() >= vocabulary):
        raise CodecError(
            f"ids run from {ids.min()} to {ids.max()}", "codec", f"the vocabulary is 0..{vocabulary - 1}"
        )
    return ids


def read_header(data: bytes) -> tuple[Header, bytes]:
    """Splits `Codec.to_bytes` into (header, deflated tables); the numbers are for `Codec` to check.

    Raises:
        CodecError: these are no codec, or are cut short.
    """
    if len(data) < _HEADER.size or data[:8] != _MAGIC:
        raise CodecError(
            "these bytes are no codec", "codec", f"they should begin with {_MAGIC!r}; the file is damaged"
        )
    _, mode, size, rows, vocabulary, h, w = _HEADER.unpack_from(data)
    counts, tables = data[_HEADER.size :][:size], data[_HEADER.size + size :]
    name = ""
    if mode == NAMED:
        end = 1 + counts[0] if counts else 0
        name, counts = counts[1:end].decode("ascii", "replace"), counts[end:]
        if not _NAME.fullmatch(name):
            raise CodecError(f"a codec is called {name!r}", "codec", "the file is damaged")
    if not rows:
        raise CodecError("blocks of 0 rows", "codec", "the file is damaged")
    return Header(mode, name, vocabulary, (h, w), rows, counts), tables


def inflate(data: bytes, size: int) -> bytes:
    """Decompresses tables that must be exactly `size` bytes long, never allocating much more.

    Raises:
        CodecError: otherwise.
    """
    stream = zlib.decompressobj()
    try:
        tables = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise CodecError(f"the tables do not decompress ({error})", "codec", "the file is damaged") from error
    if len(tables) != size or not stream.eof or stream.unused_data:
        raise CodecError(f"the tables are not {size} bytes", "codec", "the file is damaged")
    return tables


def arrays_of(tables: bytes, layout: list[tuple[str, tuple[int, ...]]]) -> list[Array]:
    """Inflates tables into arrays of a layout: (dtype, shape) one after another.

    Raises:
        CodecError: they are not exactly as long.
    """
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in layout]
    data, at, arrays = inflate(tables, sum(sizes)), 0, []
    for (kind, shape), size in zip(layout, sizes, strict=True):
        native = np.dtype(kind).newbyteorder("=")
        arrays.append(np.frombuffer(data[at : at + size], kind).reshape(shape).astype(native))
        at += size
    return arrays
