"""Zero-order and context codes: rANS with one static table per cluster of (left, up) neighbours.

The ids of a codec are coded with M tables; one table is the zero-order code. A neighbour falls into one of 96
classes (`left_class`, `up_class`; "outside the grid" is a neighbour like any other), a pair of classes names one of
the M tables. Classes and tables come from k-means in the Kullback-Leibler sense: two contexts share a table when
the ids that follow them are alike.

Source: the paper stops at the zero-order entropy, which it calls the optimum (3.1, Table 1); neighbouring ids
tell more.
"""

from __future__ import annotations

import struct
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seit.codecs import rans
from seit.codecs.base import Array, Codec, inflate
from seit.errors import CodecError

TABLES = (1, 8, 32, 64, 128)
"""What `auto` tries: M tables."""

_CLASSES = 96
_CONTEXTS = 4096
"""Fitting looks at this many of the most frequent ids by name and at all others as one: counts stay small."""

_FOLLOWERS = 1024
"""Of these the ids that follow a context are counted one by one."""

_COUNTS = struct.Struct("<HHH")
_MAX_ENTRIES = 1 << 22
_EIGHTHS = np.array(
    [2147483648, 1969251188, 1805811301, 1655936265, 1518500250, 1392470869, 1276901417, 1170923762], np.int64
)
"""2^31 * 2^(-i/8), written out: a format's constants come from no processor's floats."""


class TableCodec(Codec):
    """M static tables chosen by the classes of the left and upper neighbour; see the module.

    Args:
        vocabulary: K.
        grid: (h, w).
        left_class, up_class: uint16 [K + 1], the last entry for a neighbour outside the grid.
        table_of: uint16 [left classes, up classes], numbers of tables.
        costs: uint8 [M, K], -log2 of each id's probability in eighths of a bit, up to a constant.
    """

    mode = 1

    def __init__(
        self,
        vocabulary: int,
        grid: tuple[int, int],
        left_class: NDArray[np.uint16],
        up_class: NDArray[np.uint16],
        table_of: NDArray[np.uint16],
        costs: NDArray[np.uint8],
    ) -> None:
        super().__init__(vocabulary, grid)
        self.left_class, self.up_class, self.table_of, self.costs = left_class, up_class, table_of, costs
        self.name = "zero-order" if len(costs) == 1 else "context"
        self.bits, self.words = rans.precision(vocabulary)
        self.smallest_block = 2 * self.words
        self.frequencies = frequencies_of(costs, self.bits)

    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        grids = ids.reshape(-1, *self.grid)
        left, up = neighbours(grids, self.vocabulary)
        table = self.table_of[self.left_class[left], self.up_class[up]].astype(np.int64)
        first, slots = self._slots
        shape = ids.shape
        return rans.encode(
            first[table, grids].reshape(shape),
            self.frequencies[table, grids].reshape(shape),
            table.reshape(shape),
            slots,
            self.bits,
            self.words,
        )

    @cached_property
    def entries(self) -> NDArray[np.int64]:
        """Alias tables, see `rans.alias_entries`."""
        return rans.alias_entries(self.frequencies, self.bits)

    @cached_property
    def _slots(self) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """What only encoding needs: each id's first share, and the slots of all shares."""
        first = np.cumsum(self.frequencies, 1) - self.frequencies
        return first, rans.slots_of(self.entries, first, self.bits)

    def decode_blocks(self, payload: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        return rans.decode(
            payload, starts, ends, out, self.grid, self.entries, self.bits, self.words,
            self.left_class, self.up_class, self.table_of,
        )  # fmt: skip

    def body(self) -> tuple[bytes, bytes]:
        counts = _COUNTS.pack(*self.table_of.shape, len(self.costs))
        parts = (self.left_class, self.up_class, self.table_of)
        return counts, b"".join(part.astype("<u2").tobytes() for part in parts) + self.costs.tobytes()


def load(vocabulary: int, grid: tuple[int, int], counts: bytes, tables: bytes) -> TableCodec:
    """Rebuilds a `TableCodec` from hostile bytes.

    Raises:
        CodecError: counts beyond the limits, tables of another size, or classes that do not exist.
    """
    if len(counts) != _COUNTS.size:
        raise CodecError("the counts are cut short", "codec", "the file is damaged")
    lefts, ups, m = _COUNTS.unpack(counts)
    if (
        not (lefts and ups and m)
        or max(lefts, ups) > 4096
        or lefts * ups > 1 << 20
        or m * vocabulary > _MAX_ENTRIES
    ):
        raise CodecError(f"{m} tables of {lefts} x {ups} classes", "codec", "the file is damaged")
    pairs, k = lefts * ups, vocabulary + 1
    data = inflate(tables, 2 * (2 * k + pairs) + m * vocabulary)
    numbers = np.frombuffer(data, "<u2", 2 * k + pairs).astype(np.uint16)
    left_class, up_class, table_of = np.split(numbers, [k, 2 * k])
    if left_class.max() >= lefts or up_class.max() >= ups or table_of.max() >= m:
        raise CodecError("a class or table that is not there", "codec", "the file is damaged")
    costs = np.frombuffer(data, np.uint8, m * vocabulary, 2 * (2 * k + pairs)).reshape(m, vocabulary)
    return TableCodec(vocabulary, grid, left_class, up_class, table_of.reshape(lefts, ups), costs)


def frequencies_of(costs: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    """Turns costs into frequencies, in integers only, so that every machine has the same.

    Args:
        costs: uint8 [M, K], eighths of a bit.
        bits: log2 of the total.

    Returns:
        int64 [M, K], each at least 1, rows summing to 2^bits.
    """
    weights = _EIGHTHS[costs & 7] >> (costs >> 3).astype(np.int64)
    spare = (1 << bits) - costs.shape[1]
    frequencies = 1 + weights * spare // np.maximum(weights.sum(1, keepdims=True), 1)
    frequencies[np.arange(len(costs)), frequencies.argmax(1)] += (1 << bits) - frequencies.sum(1)
    return frequencies


def neighbours(grids: Array, vocabulary: int) -> tuple[Array, Array]:
    """The left and upper neighbour of every cell of [n, h, w]; `vocabulary` outside the grid."""
    left, up = np.empty(grids.shape, np.int32), np.empty(grids.shape, np.int32)
    left[:, :, 0] = up[:, 0] = vocabulary
    left[:, :, 1:], up[:, 1:] = grids[:, :, :-1], grids[:, :-1]
    return left, up


def fit(ids: Array, vocabulary: int, tables: tuple[int, ...] = TABLES) -> TableCodec:
    """Fits tables to ids, taking the number of tables with the smallest total, tables counted.

    Args:
        ids: integers [n, h, w] in 0..vocabulary-1.
        vocabulary: K.
        tables: numbers of tables to try; (1,) is the zero-order code.

    Returns:
        The codec with the fewest bytes for these ids and its own tables together.
    """
    grid = ids.shape[1:]
    total = np.bincount(ids.reshape(-1), minlength=vocabulary)
    bits, _ = rans.precision(vocabulary)
    best, fewest, classes = None, np.inf, None
    for m in tables:
        if m > 1 and (m * vocabulary > _MAX_ENTRIES or m > ids.size):
            break
        if m == 1:
            classes_m = (np.zeros(vocabulary + 1, np.uint16),) * 2 + (np.zeros((1, 1), np.uint16),)
            counts = total[None]
        else:
            classes = classes or _classes(ids, vocabulary, total)
            classes_m, counts = _group(ids, vocabulary, classes, m)
        codec = TableCodec(vocabulary, grid, *classes_m, costs_of(counts, total))
        size = len(codec.to_bytes()) + (counts * (bits - np.log2(codec.frequencies))).sum() / 8
        if size > fewest:  # more tables only cost more
            break
        best, fewest = codec, size
    assert best is not None
    return best


def costs_of(counts: Array, total: Array) -> NDArray[np.uint8]:
    """Smoothed probabilities in eighths of a bit: counts [M, K] leaning on the total's by 300 ids."""
    prior = (total + 0.5) / (total.sum() + 0.5 * len(total))
    p = (counts + 300 * prior) / (counts.sum(1, keepdims=True) + 300)
    return np.clip(np.rint(-8 * np.log2(p / p.max(1, keepdims=True))), 0, 255).astype(np.uint8)


def _classes(ids: Array, vocabulary: int, total: Array) -> tuple[Array, Array, Array, Array]:
    """Classes of the left and the upper neighbour, and the ids renamed for counting."""
    names = np.full(vocabulary + 1, min(vocabulary, _CONTEXTS), np.int64)
    frequent = np.argsort(-total, kind="stable")[:_CONTEXTS]
    names[frequent] = np.arange(len(frequent))
    names[vocabulary] = outside = int(names.max()) + 1
    width = min(vocabulary, _FOLLOWERS)
    target = np.minimum(names[ids], width - 1).reshape(-1)
    sides = neighbours(ids, vocabulary)
    found = []
    for side in sides:
        pairs = names[side].reshape(-1) * width + target
        counts = np.bincount(pairs, minlength=(outside + 1) * width).reshape(-1, width)
        found.append(cluster(counts, _CLASSES)[names].astype(np.uint16))
    cell = found[0][sides[0]].astype(np.int32).reshape(-1) * _CLASSES + found[1][sides[1]].reshape(-1)
    counts = np.bincount(cell * width + target, minlength=_CLASSES**2 * width).reshape(-1, width)
    return found[0], found[1], counts, cell


def _group(ids: Array, vocabulary: int, classes: tuple, m: int) -> tuple[tuple, Array]:
    """Pairs of classes grouped into m tables, and each table's counts [m, K]."""
    left, up, counts, cell = classes
    table = cluster(counts, m)
    number = table[cell] * vocabulary + ids.reshape(-1)
    full = np.bincount(number, minlength=m * vocabulary).reshape(m, vocabulary)
    return (left, up, table.reshape(_CLASSES, _CLASSES).astype(np.uint16)), full


def cluster(counts: Array, k: int, rounds: int = 15) -> NDArray[np.int64]:
    """k-means of distributions: each row joins the centre that codes its counts in the fewest bits.

    Args:
        counts: [n, T], how often each of T ids followed each of n contexts.
        k: clusters.
        rounds: of assignment and update.

    Returns:
        int64 [n], the cluster of each row.
    """
    prior = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * counts.shape[1])
    weighty = np.argsort(-counts.sum(1), kind="stable")
    counts = counts.astype(np.float32)
    centre = counts[weighty[np.arange(k) % len(weighty)]]
    label = np.zeros(len(counts), np.int64)
    for _ in range(rounds):
        p = (centre + 50 * prior) / (centre.sum(1, keepdims=True) + 50)
        label = (counts @ np.log(p).T.astype(np.float32)).argmax(1)
        centre = np.zeros_like(centre)
        np.add.at(centre, label, counts)
    return label
