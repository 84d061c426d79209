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

from seit.codecs import rans
from seit.codecs.base import Array, Codec, arrays_of
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
    """

    mode = 1

    def __init__(self, vocabulary: int, grid: tuple[int, int], fitted: Tables) -> None:
        super().__init__(vocabulary, grid)
        self.fitted, self.choices = fitted, 2
        groups, within, places = fitted.second_costs.shape
        self.name = "zero-order" if fitted.table_of.size == 1 and within == 1 else "context"
        self.frequencies = frequencies_of(fitted.costs, np.full(len(fitted.costs), groups))
        present = np.minimum(places, vocabulary - places * np.arange(groups))
        self.second_frequencies = frequencies_of(
            fitted.second_costs.reshape(-1, places), np.repeat(present, within)
        )

    def encode_blocks(self, ids: Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        t = self.fitted
        left, up = neighbours(ids.reshape(-1, *self.grid), self.vocabulary)
        left, up = t.left_class[left].astype(np.int64), t.up_class[up].astype(np.int64)
        _, within, places = t.second_costs.shape
        place = t.place[ids.reshape(left.shape)].astype(np.int64)
        group, inside = np.divmod(place, places)
        table = t.table_of[left, up].astype(np.int64)
        second = group * within + t.table_in[group, t.left_part[group, left], t.up_part[group, up]]
        frequency = np.stack([self.frequencies[table, group], self.second_frequencies[second, inside]], -1)
        end = np.stack([self._ends[0][1 + table, group], self._ends[1][1 + second, inside]], -1).astype(np.int64)
        one = int(len(self.frequencies[0]) == 1)  # a step with but one choice changes nothing
        first, frequency = (
            steps[..., one:].reshape(len(ids), (2 - one) * ids.shape[1]) for steps in (end - frequency, frequency)
        )
        return rans.encode(first, frequency, place.reshape(ids.shape) & 0xFFFF)

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """See `rans.ends_of`, of both steps."""
        return rans.ends_of(self.frequencies), rans.ends_of(self.second_frequencies)

    @cached_property
    def _id_of(self) -> NDArray[np.uint32]:
        """The id at each place, 0 where there is none."""
        groups, _, places = self.fitted.second_costs.shape
        id_of = np.zeros(groups * places, np.uint32)
        id_of[self.fitted.place] = np.arange(self.vocabulary)
        return id_of

    @cached_property
    def _by_slot(self) -> NDArray[np.uint64] | None:
        """The table by slot, if there is but one."""
        if len(self.frequencies) > 1 or len(self.second_frequencies) > 1:
            return None
        return rans.slot_table(self.second_frequencies[0], self._id_of)

    @cached_property
    def _look_ups(self) -> tuple[Any, ...]:
        """What `rans.decode` takes: one look-up instead of several, and no multiplication to find a row."""
        t, ends = self.fitted, self._ends
        groups, within, places = t.second_costs.shape
        lefts, ups = t.table_of.shape
        stride = max(ups, groups)
        table_of = np.zeros((lefts, stride), np.uint16)
        table_of[:, :ups] = t.table_of + 1
        left_part, up_part = np.zeros((lefts, stride), np.uint32), np.zeros((ups, stride), np.uint8)
        of_group = np.arange(groups)
        left_part[:, :groups] = (of_group * t.table_in.shape[1] + t.left_part.T) * t.table_in.shape[2]
        up_part[:, :groups] = t.up_part.T
        table_in = (1 + t.table_in + within * of_group[:, None, None]).astype(np.uint16)
        left, up = t.left_class.astype(np.uint64) * np.uint64(stride), t.up_class.astype(np.uint64)
        ids = np.append(self._id_of, self.vocabulary).astype(np.uint64)
        known = left[ids] << np.uint64(36) | up[ids] << np.uint64(18) | ids & np.uint64((1 << 18) - 1)
        return (
            self.grid, int(known[-1]), (stride, places.bit_length() - 1),
            tuple(rows.shape[1].bit_length() - 1 for rows in ends),
            *(a.reshape(-1) for a in (table_of, ends[0], left_part, up_part, table_in, ends[1])), known[:-1],
        )  # fmt: skip

    def decode_blocks(self, words: Array, starts: Array, ends: Array, out: Array) -> NDArray[np.bool_]:
        if self._by_slot is not None:
            return rans.decode_one(words, starts, ends, out, self._by_slot)
        return rans.decode(words, starts, ends, out, *self._look_ups)

    def body(self) -> tuple[bytes, bytes]:
        t = self.fitted
        _, m, places = t.second_costs.shape
        counts = _COUNTS.pack(places.bit_length() - 1, *t.table_of.shape, len(t.costs), *t.table_in.shape[1:], m)
        steps = np.diff(t.place, prepend=np.uint32(0))  # modulo 2^32: ids in their own order are all ones
        arrays = (steps, *astuple(t)[1:])
        return counts, b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)


def load(vocabulary: int, grid: tuple[int, int], counts: bytes, tables: bytes) -> TableCodec:
    """Rebuilds a `TableCodec` from hostile bytes.

    Raises:
        CodecError: counts beyond the limits, tables of another size, or numbers of things that do not exist.
    """
    damaged = "codec", "the file is damaged"
    if len(counts) != _COUNTS.size:
        raise CodecError("the counts are cut short", *damaged)
    log_places, lefts, ups, m, left_parts, up_parts, second_m = _COUNTS.unpack(counts)
    groups = -(-vocabulary >> log_places)
    if (
        not 2 <= vocabulary <= 1 << 18
        or log_places > 10
        or groups > 1024
        or not (lefts and ups and m and left_parts and up_parts and second_m)
        or max(lefts, ups, left_parts, up_parts, second_m) > 256
        or max(m, groups * second_m) > _MAX_TABLES
        or groups * left_parts * up_parts > _MAX_ENTRIES
        or groups * (m + (second_m << log_places)) > _MAX_ENTRIES
    ):
        raise CodecError(f"{m} and {second_m} tables for {groups} groups of {vocabulary} ids", *damaged)
    layout: list[tuple[str, tuple[int, ...]]] = [
        ("<u4", (vocabulary,)), ("u1", (vocabulary + 1,)), ("u1", (vocabulary + 1,)), ("<u2", (lefts, ups)),
        ("u1", (groups, lefts)), ("u1", (groups, ups)), ("u1", (groups, left_parts, up_parts)),
        ("u1", (m, groups)), ("u1", (groups, second_m, 1 << log_places)),
    ]  # fmt: skip
    steps, *others = arrays_of(tables, layout)
    t = Tables(np.cumsum(steps, dtype=np.uint32), *others)
    if not np.array_equal(np.sort(t.place), np.arange(vocabulary)):
        raise CodecError("the ids are out of order", *damaged)
    bounds = (
        (t.left_class, lefts), (t.up_class, ups), (t.table_of, m),
        (t.left_part, left_parts), (t.up_part, up_parts), (t.table_in, second_m),
    )  # fmt: skip
    if any(numbers.max() >= bound for numbers, bound in bounds):
        raise CodecError("a class or table that is not there", *damaged)
    return TableCodec(vocabulary, grid, t)


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
    spare = (1 << rans.BITS) - present[:, None]
    frequencies = there + weights * spare // np.maximum(weights.sum(1, keepdims=True), 1)
    frequencies[np.arange(len(costs)), frequencies.argmax(1)] += (1 << rans.BITS) - frequencies.sum(1)
    return frequencies


def neighbours(grids: Array, vocabulary: int) -> tuple[Array, Array]:
    """The left and upper neighbour of every cell of [n, h, w]; `vocabulary` outside the grid."""
    left, up = np.empty(grids.shape, np.int32), np.empty(grids.shape, np.int32)
    left[:, :, 0] = up[:, 0] = vocabulary
    left[:, :, 1:], up[:, 1:] = grids[:, :, :-1], grids[:, :-1]
    return left, up
