"""The codec contract: a grid of ids <-> bytes. A codec knows nothing of files; it is one file in this folder.

A shard's rows are coded in blocks: `rows_per_block` rows that share one coder state (4 bytes) and one start index.
From 512 cells up a row is a block of its own and decodes alone. Of smaller grids so many share a block that it
holds about 2048 ids: an 8 x 8 grid with 31 others. State and index would else be a tenth of its bytes; reading one
row decodes 32, some 25 us. Only the last block of a shard may be short; its row count then follows it as one more
byte, so that its length is odd.

Start indices: `offsets` are byte positions into the payload, block k being payload[offsets[k]:offsets[k + 1]].
`decode` takes any integer dtype and touches only the entries it needs, so a store may keep a shard's offsets
memory-mapped: uint32 while the payload is below 4 GiB, or half of that again as uint16 block lengths
(`np.diff(offsets)`, which fit whenever a block is shorter than 64 KiB) to be summed up when a shard is opened.
"""

from __future__ import annotations

import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seit.errors import CodecError

Array = NDArray[Any]

MAX_VOCABULARY = 1 << 18
MAX_CELLS = 1 << 20
"""Cells of a block: a hostile header cannot make a decoder allocate more than 4 MiB a block."""

_MAGIC = b"seitids1"
_HEADER = struct.Struct("<8sBBHIHH")
_STATE = 4
"""Bytes of the coder state, which every block has."""
_CHUNK = 256
"""Blocks below which a thread would cost more than it brings."""


def rows_per_block(grid: tuple[int, int]) -> int:
    """How many rows share coder state: 1 from 512 ids up, else as many as make about 2048 ids, at most 255."""
    cells = grid[0] * grid[1]
    return 1 if cells >= 512 else min(255, 2048 // cells)


class Codec(ABC):
    """Tables fitted to some ids, which code those and any other ids of the vocabulary without loss.

    Attributes:
        name: "zero-order", "context" or "learned".
        vocabulary: K; ids are 0..K-1.
        grid: (h, w).
        rows_per_block: rows that share coder state.
        choices: an id takes; a decoder reads at most one word for each.
    """

    mode: ClassVar[int]
    name: str
    choices: int

    def __init__(self, vocabulary: int, grid: tuple[int, int]) -> None:
        h, w = (int(side) for side in grid)
        if not 2 <= vocabulary <= MAX_VOCABULARY:
            raise CodecError(
                f"vocabulary {vocabulary}", "codec", f"a codec takes 2 to {MAX_VOCABULARY} ids, numbered from 0"
            )
        if h < 1 or w < 1 or h > 65535 or w > 65535 or h * w > MAX_CELLS:
            raise CodecError(f"grid {h} x {w}", "codec", f"a grid has 1 to {MAX_CELLS} cells")
        self.vocabulary, self.grid = int(vocabulary), (h, w)
        self.rows_per_block = rows_per_block(self.grid)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of decoded ids: uint16, or uint32 for vocabularies above 65,536."""
        return np.dtype(np.uint16 if self.vocabulary <= 65536 else np.uint32)

    @abstractmethod
    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Codes ids [n, cells] in 0..K-1 of whole blocks; returns (bytes, the blocks' lengths, all even)."""

    @abstractmethod
    def decode_blocks(self, words: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        """Decodes blocks into `out` [n, cells]; returns which of them ended as an encoder ends them.

        Must be safe for any words, and release the GIL. Blocks run from `starts` to `ends`, counted in words;
        behind a start there are the coder state's words and as many as any bytes can make a decoder read.
        """

    @abstractmethod
    def body(self) -> tuple[bytes, bytes]:
        """The fitted tables as (a few counts, all the rest); see `to_bytes`."""

    def to_bytes(self) -> bytes:
        """The whole codec as bytes for `load`; every total that we print includes them."""
        counts, tables = self.body()
        head = _HEADER.pack(_MAGIC, self.mode, len(counts), 0, self.vocabulary, *self.grid)
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
        ids = check_ids(ids, self.vocabulary, self.grid)
        per_block = self.rows_per_block
        whole = len(ids) - len(ids) % per_block
        full = ids[:whole].reshape(whole // per_block, per_block * self.grid[0] * self.grid[1])
        parts = [full[i : i + _CHUNK] for i in range(0, max(len(full), 1), _CHUNK)]
        coded = _map(self.encode_blocks, parts)
        payload, lengths = (np.concatenate(column) for column in zip(*coded, strict=True))
        if whole < len(ids):
            tail, tail_lengths = self.encode_blocks(ids[whole:].reshape(1, -1))
            payload = np.concatenate([payload, tail, np.array([len(ids) - whole], np.uint8)])
            lengths = np.append(lengths, tail_lengths + 1)
        return payload, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def decode(self, payload: Array, offsets: Array, rows: Array, out: Array | None = None) -> Array:
        """Decodes any rows of a shard, in any order, on all cores when there are many.

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
        cells = self.grid[0] * self.grid[1]
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
        payload = np.ascontiguousarray(payload, np.uint8).view()
        payload.flags.writeable = False  # as a mapped one is: kernels are compiled for one kind of array
        if self.rows_per_block == 1:
            self._decode(payload, offsets, rows, out.reshape(len(rows), cells))
            return out
        blocks, place = np.unique(rows // self.rows_per_block, return_inverse=True)
        counts = self._row_counts(payload, offsets, blocks)
        beyond = rows % self.rows_per_block >= counts[place]
        if beyond.any():
            raise CodecError(
                f"row {rows[beyond][0]} is not there", "shard", "the shard has fewer rows or is damaged"
            )
        decoded = np.empty((len(blocks), self.rows_per_block, *self.grid), self.dtype)
        for count in np.unique(counts):
            picked = np.flatnonzero(counts == count)
            part = np.empty((len(picked), count * cells), self.dtype)
            self._decode(payload, offsets, blocks[picked], part, odd=bool(count < self.rows_per_block))
            decoded[picked, :count] = part.reshape(len(picked), count, *self.grid)
        out[...] = decoded[place, rows % self.rows_per_block]
        return out

    def _row_counts(self, payload: Array, offsets: Array, blocks: Array) -> NDArray[np.int64]:
        """Rows in each block: all but the last block of a shard are full."""
        starts, ends = self._bounds(payload, offsets, blocks)
        counts = np.full(len(blocks), self.rows_per_block, np.int64)
        odd = (ends - starts) % 2 == 1
        counts[odd] = payload[ends[odd] - 1]
        wrong = odd & ((counts < 1) | (counts >= self.rows_per_block) | (blocks != len(offsets) - 2))
        if wrong.any():
            raise self._damage(int(blocks[wrong][0]))
        return counts

    def _bounds(self, payload: Array, offsets: Array, blocks: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The byte range of each block, checked against the payload: offsets may be hostile."""
        if blocks.min() < 0 or blocks.max() >= len(offsets) - 1:
            row = int(blocks.min() if blocks.min() < 0 else blocks.max()) * self.rows_per_block
            raise CodecError(f"row {row} is not there", "shard", f"it has {len(offsets) - 1} blocks")
        starts, ends = np.asarray(offsets[blocks], np.int64), np.asarray(offsets[blocks + 1], np.int64)
        wrong = (starts < 0) | (ends > len(payload)) | (ends - starts < _STATE)
        if wrong.any():
            raise self._damage(int(blocks[wrong][0]))
        return starts, ends

    def _decode(self, payload: Array, offsets: Array, blocks: Array, out: Array, odd: bool = False) -> None:
        starts, ends = self._bounds(payload, offsets, blocks)
        ends = ends - odd
        uneven = (starts | ends) % 2 == 1
        if uneven.any():
            raise self._damage(int(blocks[uneven][0]))
        parts = [slice(i, i + _CHUNK) for i in range(0, len(blocks), _CHUNK)]
        good = np.concatenate(
            _map(lambda part: self._decode_part(payload, starts[part], ends[part], out[part]), parts)
        )
        if not good.all():
            raise self._damage(int(blocks[~good][0]))

    def _decode_part(self, payload: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        """`decode_blocks`; of blocks that, damaged, could be read beyond the payload's end, from a longer copy."""
        room = _STATE + 2 * self.choices * out.shape[1]
        near = starts > len(payload) - room
        if not near.any():
            return self.decode_blocks(payload[: len(payload) // 2 * 2].view("<u2"), starts >> 1, ends >> 1, out)
        first, good = starts[near].min(), np.empty(len(out), np.bool_)
        tail = np.append(payload[first:], np.zeros(room, np.uint8))
        tail.flags.writeable = False  # as the payload is
        for part, source, begin in ((near, tail, first), (~near, payload, 0)):
            ids = np.empty((int(part.sum()), out.shape[1]), out.dtype)
            good[part] = self._decode_part(source, starts[part] - begin, ends[part] - begin, ids)
            out[part] = ids
        return good

    def _damage(self, block: int) -> CodecError:
        row = block * self.rows_per_block
        which = f"row {row}" if self.rows_per_block == 1 else f"rows {row} to {row + self.rows_per_block - 1}"
        return CodecError(f"{which} do not decode", "shard", "the shard is damaged; create it again or repair it")


def _map(task: Callable[[Any], Any], parts: list[Any]) -> list[Any]:
    """Applies a task that releases the GIL to all parts, on all cores that this process may use."""
    threads = min(len(parts), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    if threads == 1:
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


def read_header(data: bytes) -> tuple[int, int, tuple[int, int], bytes, bytes]:
    """Splits `Codec.to_bytes`.

    Returns:
        (mode, vocabulary, grid, counts, compressed tables); vocabulary and grid are not checked yet.

    Raises:
        CodecError: not a codec.
    """
    if len(data) < _HEADER.size or data[:8] != _MAGIC:
        raise CodecError(
            "these bytes are no codec", "codec", f"they should begin with {_MAGIC!r}; the file is damaged"
        )
    _, mode, size, reserved, vocabulary, h, w = _HEADER.unpack_from(data)
    if reserved:
        raise CodecError("the header's reserved bytes are not 0", "codec", "it is damaged")
    return mode, vocabulary, (h, w), data[_HEADER.size :][:size], data[_HEADER.size + size :]


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
