"""Zero-order and context codes: rANS with static tables chosen by the left and upper neighbour.

The ids lie in an order in which alike ones are close, cut into groups of equal size, and an id is coded in two
steps: its group, then its place in the group. Each step has its own small tables, so that a few hundred counts
suffice for a table, and each group its own idea of which neighbours are alike. A neighbour falls into one of some
classes ("outside the grid" is a neighbour like any other); the pair of classes picks the table of the first step,
and, through the classes' parts within the group that was found, the table of the second.

The zero-order code is the same with one class and one table, and up to 1,024 ids with one group: a single step.

Source: the paper stops at the zero-order entropy, which it calls the optimum (3.1, Table 1); neighbouring ids
tell more. `tables_fit` makes the tables.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import BITS, MAX_VOCABULARY, Array, Codec, Header, arrays_of
from seit.errors import CodecError

ONE_STEP = 1024
"""Up to this vocabulary 14 bits hold every id's frequency, and a zero-order code takes one step."""

_COUNTS = struct.Struct("<B6H")
_MAX_ENTRIES, _MAX_TABLES = 1 << 22, (1 << 16) - 2
_QUARTERS = np.array([2147483648, 1805811301, 1518500250, 1276901417], np.int64)
"""2^31 * 2^(-i/4), written out: a format's constants come from no processor's floats."""


@dataclass
class Tables:
    """The stored numbers of a fitted code. G groups of P places; A, B classes; a, b parts; M, m tables.

    Attributes:
        place: uint32 [K], a permutation; group and place in it are place div P and place mod P.
        left_class, up_class: uint8 [K + 1], the last entry for a neighbour outside the grid.
        table_of: uint16 [A, B], tables of the first step.
        left_part, up_part: uint8 [G, A] and [G, B], what the classes count as within a group.
        table_in: uint8 [G, a, b], tables of the second step, counted within the group.
        costs: uint8 [M, G], -log2 of each group's probability in quarters of a bit, up to a constant.
        second_costs: uint8 [G, m, P], the same of each place.
    """

    place: NDArray[np.uint32]
    left_class: NDArray[np.uint8]
    up_class: NDArray[np.uint8]
    table_of: NDArray[np.uint16]
    left_part: NDArray[np.uint8]
    up_part: NDArray[np.uint8]
    table_in: NDArray[np.uint8]
    costs: NDArray[np.uint8]
    second_costs: NDArray[np.uint8]


class TableCodec(Codec):
    """Static tables chosen by the classes of the left and upper neighbour; see the module.

    Args:
        vocabulary: K.
        grid: (h, w).
        fitted: the tables.
        rows_per_block: see `Codec`.
    """

    mode = 1

    def __init__(self, vocabulary: int, grid: tuple[int, int], fitted: Tables, rows_per_block: int = 0) -> None:
        super().__init__(vocabulary, grid, rows_per_block)
        self.fitted = fitted
        groups, within, places = fitted.second_costs.shape
        self.name = "zero-order" if fitted.table_of.size == 1 and within == 1 else "context"
        self.frequencies = frequencies_of(fitted.costs, np.full(len(fitted.costs), groups))
        present = np.minimum(places, vocabulary - places * np.arange(groups))
        self.second_frequencies = frequencies_of(
            fitted.second_costs.reshape(-1, places), np.repeat(present, within)
        )

    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        from seit.codecs import tables_coder  # numba: only who codes pays for it

        return tables_coder.encode(ids, self._spans)

    def decode_blocks(self, words: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        from seit.codecs import tables_coder  # numba: only who decodes pays for it

        if len(self.frequencies) == len(self.second_frequencies) == 1:
            return tables_coder.decode_one(words, starts, ends, out, self._by_slot)
        return tables_coder.decode(words, starts, ends, out, self._look_ups)

    @cached_property
    def _spans(self) -> Any:
        """What `tables_coder.encode` looks up."""
        from seit.codecs import tables_coder

        t = self.fitted
        groups, within, places = t.second_costs.shape
        return tables_coder.Spans(
            *self.grid, 2 if groups > 1 else 1, places.bit_length() - 1, t.place, t.left_class, t.up_class,
            t.table_of, t.left_part, t.up_part, t.table_in, tables_coder.spans_of(self.frequencies),
            tables_coder.spans_of(self.second_frequencies).reshape(groups, within, places),
        )  # fmt: skip

    @cached_property
    def _by_slot(self) -> NDArray[np.uint64]:
        """The only table, by slot."""
        from seit.codecs import tables_coder

        return tables_coder.slots_of(self.second_frequencies[0], self._id_of)

    @cached_property
    def _look_ups(self) -> Any:
        """What `tables_coder.decode` looks up."""
        from seit.codecs import rans, tables_coder

        t, of_group = self.fitted, np.arange(len(self.fitted.second_costs))
        _, within, places = t.second_costs.shape
        lefts, ups = t.table_of.shape
        stride = max(ups, len(of_group))
        (first, first_words), (second, second_words) = map(
            rans.trees_of, (self.frequencies, self.second_frequencies)
        )
        group_table, left_part = np.zeros((2, lefts, stride), np.uint32)
        up_part = np.zeros((ups, stride), np.uint8)
        group_table[:, :ups] = t.table_of.astype(np.uint32) * first_words
        left_part[:, : len(of_group)] = (of_group * t.table_in.shape[1] + t.left_part.T) * t.table_in.shape[2]
        up_part[:, : len(of_group)] = t.up_part.T
        table_in = ((t.table_in + within * of_group[:, None, None]) * second_words).astype(np.uint32)
        ids = np.append(self._id_of, self.vocabulary).astype(np.uint64)
        left, up = t.left_class[ids].astype(np.uint64) * np.uint64(stride), t.up_class[ids].astype(np.uint64)
        known = left << np.uint64(36) | up << np.uint64(18) | ids & np.uint64((1 << 18) - 1)
        return tables_coder.LookUps(  # type: ignore[call-arg]
            *self.grid, np.uint64(stride), np.uint64(places.bit_length() - 1), known[-1], first, second,
            *(a.reshape(-1) for a in (group_table, left_part, up_part, table_in)), known[:-1],
        )  # fmt: skip

    @cached_property
    def _id_of(self) -> NDArray[np.uint32]:
        """The id at each place, 0 where there is none."""
        groups, _, places = self.fitted.second_costs.shape
        id_of = np.zeros(groups * places, np.uint32)
        id_of[self.fitted.place] = np.arange(self.vocabulary)
        return id_of

    def body(self) -> tuple[bytes, bytes]:
        t = self.fitted
        _, m, places = t.second_costs.shape
        counts = _COUNTS.pack(places.bit_length() - 1, *t.table_of.shape, len(t.costs), *t.table_in.shape[1:], m)
        steps = np.diff(t.place, prepend=np.uint32(0))  # modulo 2^32: ids in their own order are all ones
        arrays = (steps, *astuple(t)[1:])
        return counts, b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)

    @classmethod
    def load(cls, header: Header, tables: bytes) -> TableCodec:
        """Rebuilds a codec from hostile bytes; see `Codec.load`."""
        damaged = "codec", "the file is damaged"
        k = header.vocabulary
        if len(header.counts) != _COUNTS.size:
            raise CodecError("the counts are cut short", *damaged)
        log_places, lefts, ups, m, left_parts, up_parts, second_m = _COUNTS.unpack(header.counts)
        groups = -(-k >> log_places)
        if (
            not 2 <= k <= MAX_VOCABULARY
            or log_places > 10
            or groups > 1024
            or not (lefts and ups and m and left_parts and up_parts and second_m)
            or max(lefts, ups, left_parts, up_parts, second_m) > 256
            or max(m, groups * second_m) > _MAX_TABLES
            or groups * left_parts * up_parts > _MAX_ENTRIES
            or groups * (m + (second_m << log_places)) > _MAX_ENTRIES
        ):
            raise CodecError(f"{m} and {second_m} tables for {groups} groups of {k} ids", *damaged)
        layout: list[tuple[str, tuple[int, ...]]] = [
            ("<u4", (k,)), ("u1", (k + 1,)), ("u1", (k + 1,)), ("<u2", (lefts, ups)),
            ("u1", (groups, lefts)), ("u1", (groups, ups)), ("u1", (groups, left_parts, up_parts)),
            ("u1", (m, groups)), ("u1", (groups, second_m, 1 << log_places)),
        ]  # fmt: skip
        steps, *others = arrays_of(tables, layout)
        t = Tables(np.cumsum(steps, dtype=np.uint32), *others)
        if not np.array_equal(np.sort(t.place), np.arange(k)):
            raise CodecError("the ids are out of order", *damaged)
        bounds = (
            (t.left_class, lefts), (t.up_class, ups), (t.table_of, m),
            (t.left_part, left_parts), (t.up_part, up_parts), (t.table_in, second_m),
        )  # fmt: skip
        if any(numbers.max() >= bound for numbers, bound in bounds):
            raise CodecError("a class or table that is not there", *damaged)
        return cls(k, header.grid, t, header.rows_per_block)


def frequencies_of(costs: NDArray[np.uint8], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turns costs into frequencies, in integers only, so that every machine has the same.

    Args:
        costs: uint8 [M, n], quarters of a bit.
        present: int64 [M], how many choices a table has; the others get 0.

    Returns:
        int64 [M, n], at least 1 for each choice that is there, rows summing to 2^14.
    """
    there = np.arange(costs.shape[1]) < present[:, None]
    weights = np.where(there, _QUARTERS[costs & 3] >> (costs >> 2).astype(np.int64), 0)
    spare = (1 << BITS) - present[:, None]
    frequencies = there + weights * spare // np.maximum(weights.sum(1, keepdims=True), 1)
    frequencies[np.arange(len(costs)), frequencies.argmax(1)] += (1 << BITS) - frequencies.sum(1)
    return frequencies


def neighbours(grids: Array, vocabulary: int) -> tuple[Array, Array]:
    """The left and upper neighbour of every cell of [n, h, w]; `vocabulary` outside the grid."""
    left, up = np.empty(grids.shape, np.int32), np.empty(grids.shape, np.int32)
    left[:, :, 0] = up[:, 0] = vocabulary
    left[:, :, 1:], up[:, 1:] = grids[:, :, :-1], grids[:, :-1]
    return left, up
