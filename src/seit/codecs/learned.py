"""The learned code: a network of some 50 kB predicts each id from eight neighbours; the smallest, and the slowest.

`network` has the arithmetic, `learned_fit` the training (the only place that needs torch). Here: the codec, its
bytes, and the checks that make any bytes safe and every sum exact.

Offered up to 16,384 ids: the neighbours' rows take 0.9 kB of memory an id, and the stored network about 100 bytes
an id (50 kB for 512, 1.5 MB for 16,384), which a small data set does not earn back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import Array, Codec, Header, arrays_of
from seit.errors import CodecError

MAX_VOCABULARY = 1 << 14
FAN = 8
"""Children of a node of the tree."""
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, 2), (-1, -2))
"""(rows down, columns right) of what a cell is predicted from: left, up, and six more that come before it."""

_COUNTS = struct.Struct("<BBHBxH")
_MAX_ROWS = 1 << 25


@dataclass
class Network:
    """The stored integers of a fitted network.

    Attributes:
        shift, cap: of the hidden numbers, see `network`.
        neighbours: int8 [J, 2], see `NEIGHBOURS`.
        place: uint16 [K], each id's leaf in the tree.
        codes: int8 [K + 1, r], each id's factors; the last row is "outside the grid".
        factors: int8 [J, r, H], what a neighbour's factors add to each hidden number.
        scale: uint32 [H], in 2^-16, of those sums.
        start: int16 [H], added to the sums.
        weights: int8 [nodes, FAN, H] of the tree's nodes, level by level.
        bias: int32 [nodes, FAN].
    """

    shift: int
    cap: int
    neighbours: NDArray[np.int8]
    place: NDArray[np.uint16]
    codes: NDArray[np.int8]
    factors: NDArray[np.int8]
    scale: NDArray[np.uint32]
    start: NDArray[np.int16]
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]

    def rows(self) -> NDArray[np.int64]:
        """The sums that each neighbour's id contributes, [J, K + 1, H]."""
        sums = np.einsum("kr,jrh->jkh", self.codes.astype(np.int64), self.factors.astype(np.int64), optimize=True)
        rows = (sums * self.scale.astype(np.int64) + (1 << 15)) >> 16
        rows[0] += self.start
        return rows


def levels(vocabulary: int) -> list[int]:
    """Nodes at each level of the tree, from the root (1) to the last, whose children are leaves."""
    counts = [-(-vocabulary // FAN)]
    while counts[0] > 1:
        counts.insert(0, -(-counts[0] // FAN))
    return counts


def absent(vocabulary: int) -> NDArray[np.bool_]:
    """Which children [nodes, FAN] stand for no id, because K is no power of the fan-out."""
    counts = levels(vocabulary)
    filled = [*counts[1:], vocabulary]
    return np.concatenate([np.arange(n * FAN) >= m for n, m in zip(counts, filled, strict=True)]).reshape(-1, FAN)


class LearnedCodec(Codec):
    """Codes each id with the distribution that a small integer network gives it; see the module.

    Args:
        vocabulary: K, up to 16,384.
        grid: (h, w).
        fitted: the network's integers.

    Raises:
        CodecError: numbers with which sums would not be exact.
    """

    mode = 2
    name = "learned"

    def __init__(self, vocabulary: int, grid: tuple[int, int], fitted: Network, rows_per_block: int = 0) -> None:
        super().__init__(vocabulary, grid, rows_per_block)
        from seit.codecs import network  # numba: only who codes pays for it

        self.fitted = fitted
        nodes = levels(vocabulary)
        rows, steps = fitted.rows(), fitted.neighbours.astype(np.int64)
        sums = fitted.cap * np.abs(fitted.weights.astype(np.int64)).sum(2)
        down, right, far = steps[:, 0], steps[:, 1], network.MARGIN
        before = (down >= -far) & (abs(right) <= far) & ((down < 0) | ((down == 0) & (right < 0)))
        if not before.all() or not np.array_equal(np.sort(fitted.place), np.arange(vocabulary)):
            raise CodecError("neighbours or tree are out of order", "codec", "the file is damaged")
        if sums.max() >= 1 << 24 or np.abs(rows).max(1).sum(0).max() > 32767 or abs(fitted.bias).max() >= 1 << 24:
            raise CodecError("the network's sums could overflow", "codec", "the file is damaged")
        place = fitted.place.astype(np.int64)
        bias = np.where(absent(vocabulary), network.ABSENT, fitted.bias).astype(np.int32)
        self._shared = (
            self.grid,
            down * (self.grid[1] + 2 * far) + right,
            np.ascontiguousarray(rows, np.int16),
            np.ascontiguousarray(fitted.weights, np.float32),
            bias,
            np.cumsum([0, *nodes[:-1]]).astype(np.int64),
        )
        self._place, self._id_of = place, np.argsort(place)
        self._limits = (np.int64(fitted.shift), np.int64(fitted.cap), network.POWERS)

    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        from seit.codecs import network

        return network.encode(ids, *self._shared, self._place, *self._limits)

    def decode_blocks(self, words: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        from seit.codecs import network

        return network.decode(words, starts, ends, out, *self._shared, self._id_of, *self._limits)

    def body(self) -> tuple[bytes, bytes]:
        f = self.fitted
        counts = _COUNTS.pack(len(f.neighbours), f.codes.shape[1], f.weights.shape[2], f.shift, f.cap)
        arrays = (f.neighbours, f.place, f.codes, f.factors, f.scale, f.start, f.weights, f.bias)
        return counts, b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)

    @classmethod
    def load(cls, header: Header, tables: bytes) -> LearnedCodec:
        """Rebuilds a codec from hostile bytes; see `Codec.load`."""
        damaged = "codec", "the file is damaged"
        k = header.vocabulary
        if len(header.counts) != _COUNTS.size:
            raise CodecError("the counts are cut short", *damaged)
        j, rank, hidden, shift, cap = _COUNTS.unpack(header.counts)
        if not (
            2 <= k <= MAX_VOCABULARY
            and j == len(NEIGHBOURS)
            and 1 <= rank <= 64
            and hidden in range(8, 257, 8)
            and shift <= 16
            and cap
            and j * (k + 1) * hidden <= _MAX_ROWS
        ):
            raise CodecError(f"a network of {j} x {rank} x {hidden} for {k} ids", *damaged)
        nodes = sum(levels(k))
        layout: list[tuple[str, tuple[int, ...]]] = [
            ("i1", (j, 2)), ("<u2", (k,)), ("i1", (k + 1, rank)), ("i1", (j, rank, hidden)),
            ("<u4", (hidden,)), ("<i2", (hidden,)), ("i1", (nodes, FAN, hidden)), ("<i4", (nodes, FAN)),
        ]  # fmt: skip
        return cls(k, header.grid, Network(shift, cap, *arrays_of(tables, layout)), header.rows_per_block)
