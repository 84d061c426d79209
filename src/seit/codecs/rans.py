"""The entropy coder of the table codes: range ANS, several blocks in lockstep.

A block is one range ANS stream: a state x in [2^16, 2^32) that gives and takes 16-bit little-endian words. It
starts with the coder's final state (two words, highest first); a decoder that has taken all its ids must stand at
x = 2^16 with every word used, which is the check that damage rarely passes.

A choice of frequency f out of 2^14 owns f consecutive slots. To find a slot's choice a decoder counts the choices
that end before it, 32 at a time by vector comparisons: tables then need 2 bytes a choice, so that hundreds of them
stay in the processor's first two caches. Where there is one table only, it is written out by slot.

After each id the state is changed by the id's place: without that, a damaged bit that leads to another id of the
same frequency would leave the same state behind, and go unnoticed.

An id is two choices: its group, then its place in the group (see `tables`).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

BITS = 14
"""log2 of the total of a table's frequencies: two words of state allow that before rounding shows."""
WORDS = 2
"""16-bit words of coder state."""
LANES = 4
"""Blocks decoded side by side: one alone waits for its own multiply and table look-up."""

_LOW, _SLOTS = 1 << 16, (1 << BITS) - 1
VECTOR = 16
"""Choices that one comparison looks at: tables are filled up to so many."""

U = np.uint64
"""Kernels index by unsigned numbers: signed ones would be checked for counting from an array's end."""


def ends_of(frequencies: NDArray[np.int64]) -> NDArray[np.int16]:
    """Where the slots of each choice of many distributions end.

    Args:
        frequencies: int64 [tables, choices], each row summing to 2^14; 0 for a choice that is not there.

    Returns:
        int16 [1 + tables, the power of two from the choices up, at least 16]: the first slot behind each choice's,
        filled up with 2^14. A first row of these stands before the first table, to be read as the end before it.
    """
    tables, choices = frequencies.shape
    width = max(VECTOR, 1 << (choices - 1).bit_length())
    ends = np.full((1 + tables, width), 1 << BITS, np.int16)
    ends[1:, :choices] = np.cumsum(frequencies, 1)
    return ends


def slot_table(frequencies: NDArray[np.int64], id_of: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One distribution by slot, for `decode_one`.

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


@nb.njit(cache=True, nogil=True)
def encode(first, frequency, place):
    """Encodes blocks of equally many ids, each by equally many choices whose shares are consecutive slots.

    Args:
        first, frequency: int64 [n, choices], a choice's first slot and how many it has, out of 2^14.
        place: int64 [n, cells] below 2^16, of the ids: it changes the state after each.

    Returns:
        (payload uint8 [P], lengths int64 [n] in bytes).
    """
    n, choices = first.shape
    depth = choices // place.shape[1]
    payload, lengths, end = np.zeros(1 << 16, np.uint8), np.zeros(n, np.int64), 0
    block = np.zeros(choices + WORDS, np.uint16)
    for b in range(n):
        x, at = np.int64(_LOW), len(block)
        for i in range(choices - 1, -1, -1):
            if (i + 1) % depth == 0:
                x ^= place[b, i // depth]
            f = frequency[b, i]
            x, at = _make_room(x, f, block, at)
            x = ((x // f) << BITS) | (first[b, i] + x % f)
        payload, lengths[b] = _flush(x, block, at, payload, end)
        end += lengths[b]
    return payload[:end].copy(), lengths


@nb.njit(cache=True, nogil=True)
def _make_room(x, f, block, at):
    """Moves a word out of a state that a choice of frequency f would make too large."""
    if x >= f << (16 * WORDS - BITS):
        at -= 1
        block[at] = x & 0xFFFF
        x >>= 16
    return x, at


@nb.njit(cache=True, nogil=True)
def _flush(x, block, at, payload, end):
    """Puts a block's state and words at the payload's end; returns (the payload, enlarged if need be, bytes)."""
    for _ in range(WORDS):
        at -= 1
        block[at] = x & 0xFFFF
        x >>= 16
    length = 2 * (len(block) - at)
    if end + length > len(payload):
        larger = np.zeros(2 * len(payload) + length, np.uint8)
        larger[:end] = payload[:end]
        payload = larger
    for i in range(at, len(block)):
        payload[end] = block[i] & 0xFF
        payload[end + 1] = block[i] >> 8
        end += 2
    return payload, length


def _compare(_, numbers, one, two, bound):
    """How many of int16 numbers[one : one + 16] and [two : two + 16] are below an int16 bound, without a loop.

    One over so few numbers would be unrolled, and never become vectors.
    """

    def generate(context, builder, signature, arguments):
        array, *places, value = arguments
        words, flags = ir.VectorType(ir.IntType(16), VECTOR), ir.VectorType(ir.IntType(8), 2 * VECTOR)
        data = context.make_array(signature.args[0])(context, builder, array).data
        first = builder.insert_element(ir.Constant(words, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        bounds = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), VECTOR), None))
        found = ir.Constant(words, None)
        for place, byte in zip(places, (0xFF, -0x100), strict=True):  # one vector's answers in each word's low byte
            loaded = builder.load(builder.bitcast(builder.gep(data, [place]), words.as_pointer()), align=2)
            below = builder.sext(builder.icmp_signed("<", loaded, bounds), words)
            found = builder.or_(found, builder.and_(below, ir.Constant(words, [byte] * VECTOR)))
        # processors gather a bit of every byte in one instruction
        signs = builder.icmp_signed("<", builder.bitcast(found, flags), ir.Constant(flags, None))
        return builder.zext(builder.ctpop(builder.bitcast(signs, ir.IntType(2 * VECTOR))), ir.IntType(64))

    return nb.uint64(numbers, one, two, bound), generate


_below: Any = intrinsic(_compare)


@nb.njit(cache=True, nogil=True, inline="always")
def _next(x, words, at):
    """Shifts a word into a state that has become too small, without a branch that nobody could predict."""
    need, longer = x < U(_LOW), x << U(16) | U(words[at])
    return longer if need else x, at + U(need)


@nb.njit(cache=True, nogil=True)
def _rest(ends, row, bound, length):
    """How many of a row's numbers beyond the first 32 are below a bound."""
    count, vector = U(0), U(2 * VECTOR)
    while vector < length:
        count += _below(ends, row + vector, row + vector + U(VECTOR), bound)
        vector += U(2 * VECTOR)
    return count


@nb.njit(cache=True, nogil=True, inline="always")
def take(x, words, at, ends, table, log):
    """Takes one choice out of the state.

    Args:
        x: the state.
        words: the payload.
        at: place of the next word in it.
        ends: `ends_of`, flat.
        table: row of the table in it.
        log: log2 of a row's length.

    Returns:
        (choice, state, place of the next word), all unsigned.
    """
    slot, row = x & U(_SLOTS), table << log
    bound = np.int16(slot + U(1))
    if log == U(4):
        choice = _below(ends, row, row, bound) >> U(1)
    else:
        choice = _below(ends, row, row + U(VECTOR), bound)
        if log > U(5):
            choice += _rest(ends, row, bound, U(1) << log)
    place = row + choice
    first = U(ends[place - U(1)]) & U(_SLOTS)  # 0 where the table before ends
    x, at = _next((U(ends[place]) - first) * (x >> U(BITS)) + slot - first, words, at)
    return choice, x, at


@nb.njit(cache=True, nogil=True, inline="always")
def begin(words, start):
    """The state that a block starts with, and the place of its next word."""
    return U(words[start]) << U(16) | U(words[start + 1]), U(start + WORDS)


@nb.njit(cache=True, nogil=True)
def decode_one(words, starts, ends, out, slots):
    """Decodes whole blocks by one table that gives an id in one step; see `decode`.

    Args:
        words, starts, ends, out: as of `decode`, but a block needs one word an id.
        slots: uint64 [2^14], of `slot_table`.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    state, at, block = np.zeros(LANES, U), np.zeros(LANES, U), np.zeros(LANES, U)
    good = np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        for k in range(LANES):
            block[k] = min(base + k, n - 1)  # a short last group decodes its last block several times over
            state[k], at[k] = begin(words, starts[block[k]])
        for i in range(cells):
            for k in range(LANES):
                x = state[k]
                one = slots[x & U(_SLOTS)]
                x = (one & U(0x7FFF)) * (x >> U(BITS)) + ((one >> U(15)) & U(0x7FFF))
                x, at[k] = _next(x, words, at[k])
                state[k] = x ^ ((one >> U(30)) & U(0x7FFF))
                out[block[k], U(i)] = one >> U(45)
        for k in range(LANES):
            good[block[k]] = state[k] == U(_LOW) and at[k] == U(ends[block[k]])
    return good


@nb.njit(cache=True, nogil=True, inline="always")
def _second(x, words, at, group, left, up, left_part, up_part, stride, table_in, ends, log, places, known):
    """The second step of an id: returns (what `known` says of it, state, place of the next word)."""
    table = U(table_in[U(left_part[left + group]) + U(up_part[up * stride + group])])
    place, x, at = take(x, words, at, ends, table, log)
    leaf = (group << places) + place
    return U(known[leaf]), x ^ (leaf & U(0xFFFF)), at


@nb.njit(cache=True, nogil=True)
def decode(
    words, starts, ends, out, shape, outside, strides, logs,
    table_of, group_ends, left_part, up_part, table_in, place_ends, known,
):  # fmt: skip
    """Decodes whole blocks of equally many rows.

    Never writes outside `out`, whatever the bytes are, nor reads more than two words an id; ids come from `known`.
    Four blocks side by side, written out: their states stay in registers, and while one waits the others go on.

    Args:
        words: uint16 [P], the payload.
        starts, ends: int64 [n], 0 <= start, start + 2 + 2 * rows * h * w <= P (the caller has checked).
        out: uint16 or uint32 [n, rows * h * w], filled with ids.
        shape: (h, w) of the grid.
        outside: what `known` would say of a neighbour outside the grid.
        strides: (S, log2 of a group's places).
        logs: log2 of the row lengths of `group_ends` and `place_ends`.
        table_of: uint16 [left classes * S], row of `group_ends` for each upper class.
        group_ends: int16 [rows * choices], `ends_of` the first step.
        left_part: uint32 [left classes * S], for each group where its rows of `table_in` begin.
        up_part: uint8 [upper classes * S], for each group which column it is.
        table_in: uint16 [groups * left parts * up parts], row of `place_ends`.
        place_ends: int16 [rows * choices], of the second step.
        known: uint64 [places], of each place's id: S times its left class (from bit 36), its upper class (18 bits
            from 18) and the id itself.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width = shape
    stride, places = U(strides[0]), U(strides[1])
    log, second_log = U(logs[0]), U(logs[1])
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
                above[:] = (outside >> 18) & 0xFF
            left_a = left_b = left_c = left_d = U(outside >> 36)
            for column in range(width):
                i, j = U(line * width + column), U(column)
                up_a = U(above[0, j])
                up_b = U(above[1, j])
                up_c = U(above[2, j])
                up_d = U(above[3, j])
                group_a, x_a, at_a = take(x_a, words, at_a, group_ends, U(table_of[left_a + up_a]), log)
                group_b, x_b, at_b = take(x_b, words, at_b, group_ends, U(table_of[left_b + up_b]), log)
                group_c, x_c, at_c = take(x_c, words, at_c, group_ends, U(table_of[left_c + up_c]), log)
                group_d, x_d, at_d = take(x_d, words, at_d, group_ends, U(table_of[left_d + up_d]), log)
                id_a, x_a, at_a = _second(
                    x_a, words, at_a, group_a, left_a, up_a, left_part, up_part, stride, table_in, place_ends,
                    second_log, places, known,
                )  # fmt: skip
                id_b, x_b, at_b = _second(
                    x_b, words, at_b, group_b, left_b, up_b, left_part, up_part, stride, table_in, place_ends,
                    second_log, places, known,
                )  # fmt: skip
                id_c, x_c, at_c = _second(
                    x_c, words, at_c, group_c, left_c, up_c, left_part, up_part, stride, table_in, place_ends,
                    second_log, places, known,
                )  # fmt: skip
                id_d, x_d, at_d = _second(
                    x_d, words, at_d, group_d, left_d, up_d, left_part, up_part, stride, table_in, place_ends,
                    second_log, places, known,
                )  # fmt: skip
                out[a, i], above[0, j], left_a = id_a & U(0x3FFFF), (id_a >> U(18)) & U(0xFF), id_a >> U(36)
                out[b, i], above[1, j], left_b = id_b & U(0x3FFFF), (id_b >> U(18)) & U(0xFF), id_b >> U(36)
                out[c, i], above[2, j], left_c = id_c & U(0x3FFFF), (id_c >> U(18)) & U(0xFF), id_c >> U(36)
                out[d, i], above[3, j], left_d = id_d & U(0x3FFFF), (id_d >> U(18)) & U(0xFF), id_d >> U(36)
        good[a] = x_a == U(_LOW) and at_a == U(ends[a])
        good[b] = x_b == U(_LOW) and at_b == U(ends[b])
        good[c] = x_c == U(_LOW) and at_c == U(ends[c])
        good[d] = x_d == U(_LOW) and at_d == U(ends[d])
    return good
