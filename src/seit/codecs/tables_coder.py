"""The kernels of the zero-order and context codes: look-ups, and the coder of `rans`.

An id is two choices, its group and its place in the group (see `tables`). What a step needs to know of an id is
kept in one word, so that it is looked up once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import BITS
from seit.codecs.rans import LANES, LOW, SLOTS, WORDS, Trees, U, begin, flushed, put, refilled, take
from seit.compiled import compiled


class LookUps(NamedTuple):
    """What a decoder looks up: one number instead of several, and no multiplication to find a row.

    Attributes:
        height, width: of the grid.
        stride: S, of the rows of `left_part` and its like: as many as upper classes or groups.
        places: log2 of a group's places.
        outside: what `known` would say of a neighbour outside the grid.
        groups, within: the distributions of the two steps.
        group_table: uint32 [left classes * S], where the tree of `groups` for each upper class begins.
        left_part: uint32 [left classes * S], where each group's rows of `table_in` begin.
        up_part: uint8 [upper classes * S], for each group which column of these it is.
        table_in: uint32 [groups * left parts * upper parts], where the tree of `within` begins.
        known: uint64 [places in all], of each place's id: S times its left class (from bit 36), its upper class
            (from bit 18) and the id itself.
    """

    height: int
    width: int
    stride: np.uint64
    places: np.uint64
    outside: np.uint64
    groups: Trees
    within: Trees
    group_table: NDArray[np.uint32]
    left_part: NDArray[np.uint32]
    up_part: NDArray[np.uint8]
    table_in: NDArray[np.uint32]
    known: NDArray[np.uint64]


class Spans(NamedTuple):
    """What an encoder looks up.

    Attributes:
        height, width: of the grid.
        steps: 2, or 1 where there is one group, whose choice would change nothing.
        places: log2 of a group's places.
        place: uint32 [K], of each id.
        left_class, up_class: int64 [K + 1].
        table_of: uint16 [A, B], of the first step.
        left_part, up_part: uint8 [G, A] and [G, B].
        table_in: uint8 [G, a, b], of the second step.
        groups: uint32 [M, G], the first slot of each choice and, from bit 16, how many it has.
        within: uint32 [G, m, P], the same of the second step.
    """

    height: int
    width: int
    steps: int
    places: int
    place: NDArray[np.uint32]
    left_class: NDArray[np.uint8]
    up_class: NDArray[np.uint8]
    table_of: NDArray[np.uint16]
    left_part: NDArray[np.uint8]
    up_part: NDArray[np.uint8]
    table_in: NDArray[np.uint8]
    groups: NDArray[np.uint32]
    within: NDArray[np.uint32]


def spans_of(frequencies: NDArray[np.int64]) -> NDArray[np.uint32]:
    """First slot and, from bit 16, number of slots of each choice of distributions [..., choices]."""
    return (np.cumsum(frequencies, -1) - frequencies | frequencies << 16).astype(np.uint32)


def slots_of(frequencies: NDArray[np.int64], id_of: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Writes one distribution out by slot, for `decode_one`.

    Args:
        frequencies: int64 [choices], summing to 2^14.
        id_of: uint32 [choices], below 2^18.

    Returns:
        uint64 [2^14]: 15 bits each for the frequency, the slot's number among its choice's and the choice; the id.
    """
    first = np.cumsum(frequencies) - frequencies
    choice = np.repeat(np.arange(len(frequencies)), frequencies)
    share = np.arange(1 << BITS) - first[choice]
    table = frequencies[choice] | (share << 15) | (choice << 30) | (id_of[choice].astype(np.int64) << 45)
    return table.astype(np.uint64)


@compiled
def encode(ids, spans):
    """Encodes blocks of equally many rows.

    Args:
        ids: uint16 or uint32 [n, rows * h * w], below K.
        spans: `Spans`.

    Returns:
        (words uint16 [W], how many each block has int64 [n]).
    """
    n, cells = ids.shape
    height, width = spans.height, spans.width
    outside = len(spans.place)
    words, lengths = np.empty(n * (spans.steps * cells + WORDS), np.uint16), np.empty(n, np.int64)
    at = len(words)
    for b in range(n - 1, -1, -1):
        x, end = LOW, at
        for i in range(cells - 1, -1, -1):
            left = ids[b, i - 1] if i % width else outside
            up = ids[b, i - width] if i // width % height else outside
            left, up = spans.left_class[left], spans.up_class[up]
            place = spans.place[ids[b, i]]
            group, inside = place >> spans.places, place & ((1 << spans.places) - 1)
            table = spans.table_in[group, spans.left_part[group, left], spans.up_part[group, up]]
            span = U(spans.within[group, table, inside])
            x, at = put(x ^ U(place & 0xFFFF), span & U(0xFFFF), span >> U(16), words, at)
            if spans.steps == 2:
                span = U(spans.groups[spans.table_of[left, up], group])
                x, at = put(x, span & U(0xFFFF), span >> U(16), words, at)
        at = flushed(x, words, at)
        lengths[b] = end - at
    return words[at:], lengths


@compiled
def decode_one(words, starts, ends, out, slots):
    """Decodes whole blocks by one table that gives an id in one step; see `decode`.

    Args:
        words, starts, ends, out: as of `decode`.
        slots: uint64 [2^14], of `slots_of`.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    last = U(len(words) - 1)
    state, at, block = np.zeros(LANES, U), np.zeros(LANES, U), np.zeros(LANES, U)
    good = np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        for k in range(LANES):
            block[k] = min(base + k, n - 1)  # a short last group decodes its last block several times over
            state[k], at[k] = begin(words, starts[block[k]])
        for i in range(cells):
            for k in range(LANES):
                x = state[k]
                one = slots[x & SLOTS]
                x = (one & U(0x7FFF)) * (x >> U(BITS)) + ((one >> U(15)) & U(0x7FFF))
                x, at[k] = refilled(x, words, at[k], last)
                state[k] = x ^ ((one >> U(30)) & U(0x7FFF))
                out[block[k], U(i)] = one >> U(45)
        for k in range(LANES):
            good[block[k]] = state[k] == LOW and at[k] == U(ends[block[k]])
    return good


@compiled(inline=True)
def _second(t, group, left, up, x, words, at, last):
    """The second step of an id: returns (what `known` says of it, state, place of the next word)."""
    tree = t.table_in[U(t.left_part[left + group]) + U(t.up_part[up * t.stride + group])]
    place, x, at = take(x, words, at, last, t.within, U(tree))
    leaf = (group << t.places) + place
    return t.known[leaf], x ^ (leaf & U(0xFFFF)), at


@compiled(inline=True)
def _split(known):
    """What `known` says: (id, upper class, S times the left class)."""
    return known & U(0x3FFFF), (known >> U(18)) & U(0xFF), known >> U(36)


@compiled
def decode(words, starts, ends, out, t):
    """Decodes whole blocks of equally many rows.

    Never writes outside `out` nor reads outside `words`, whatever they hold; ids come from `known`. Four blocks
    side by side, written out: their states stay in registers, and while one waits the others go on.

    Args:
        words: uint16 [P], the payload.
        starts, ends: int64 [n], places in it, 0 <= start, start + 2 <= end <= P (the caller has checked).
        out: uint16 or uint32 [n, rows * h * w], filled with ids.
        t: `LookUps`.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width, last = t.height, t.width, U(len(words) - 1)
    above, good = np.zeros((LANES, width), np.uint8), np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        # a short last group decodes its last block several times over
        a, b, c, d = base, min(base + 1, n - 1), min(base + 2, n - 1), min(base + 3, n - 1)
        x_a, at_a = begin(words, starts[a])
        x_b, at_b = begin(words, starts[b])
        x_c, at_c = begin(words, starts[c])
        x_d, at_d = begin(words, starts[d])
        for line in range(cells // width):
            if line % height == 0:
                above[:] = (t.outside >> U(18)) & U(0xFF)
            left_a = left_b = left_c = left_d = t.outside >> U(36)
            for column in range(width):
                i, j = U(line * width + column), U(column)
                up_a, up_b, up_c, up_d = U(above[0, j]), U(above[1, j]), U(above[2, j]), U(above[3, j])
                # step by step for all four, not block by block: a quarter faster
                group_a, x_a, at_a = take(x_a, words, at_a, last, t.groups, U(t.group_table[left_a + up_a]))
                group_b, x_b, at_b = take(x_b, words, at_b, last, t.groups, U(t.group_table[left_b + up_b]))
                group_c, x_c, at_c = take(x_c, words, at_c, last, t.groups, U(t.group_table[left_c + up_c]))
                group_d, x_d, at_d = take(x_d, words, at_d, last, t.groups, U(t.group_table[left_d + up_d]))
                known_a, x_a, at_a = _second(t, group_a, left_a, up_a, x_a, words, at_a, last)
                known_b, x_b, at_b = _second(t, group_b, left_b, up_b, x_b, words, at_b, last)
                known_c, x_c, at_c = _second(t, group_c, left_c, up_c, x_c, words, at_c, last)
                known_d, x_d, at_d = _second(t, group_d, left_d, up_d, x_d, words, at_d, last)
                out[a, i], above[0, j], left_a = _split(known_a)
                out[b, i], above[1, j], left_b = _split(known_b)
                out[c, i], above[2, j], left_c = _split(known_c)
                out[d, i], above[3, j], left_d = _split(known_d)
        good[a] = x_a == LOW and at_a == U(ends[a])
        good[b] = x_b == LOW and at_b == U(ends[b])
        good[c] = x_c == LOW and at_c == U(ends[c])
        good[d] = x_d == LOW and at_d == U(ends[d])
    return good
