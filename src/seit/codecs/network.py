"""The kernels of the learned code: a small network in exact integers predicts each id before it is coded.

For every cell the rows of its neighbours' ids are summed to some hidden numbers, which are squared where positive.
The id is then found in a tree of fan-out 8: at each level, log-probabilities of 8 children are the dot products of
the hidden numbers with the node's weights. 512 ids are 3 levels: 24 dot products instead of 512.

Encoder and decoder call the same functions, and these give the same numbers on every machine: everything is an
integer. Dot products are computed in float32 because processors multiply those fastest; the loader has checked that
no partial sum can reach 2^24, so they are exact whatever the order of summation. Several blocks are
decoded side by side because one alone waits for its own results. Inner functions are inlined: an array, or a part
of one, that is passed to a call has its references counted, which took a third of the time.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from seit.codecs.base import BITS
from seit.codecs.rans import LANES, LOW, SLOTS, WORDS, U, begin, flushed, put, refilled
from seit.compiled import compiled

NEIGHBOURS = 8
"""How many ids predict the next one."""
FAN = 8
_ROW = 16
"""Entries of a lane in `ends`: a 0, and where the slots of eight children end."""
MARGIN = 3
"""Neighbours lie at most this many cells away."""
ABSENT = -(1 << 28)
"""Bias of a child that stands for no id."""
UNIT = 12
"""Dot products are log2-probabilities in units of 2^-UNIT bits."""


def power_of_minus(i: int) -> int:
    """floor(2^16 * 2^(-i/256)), by integer square roots: the same on every machine."""
    root = 1 << (16 * 256 - i)
    for _ in range(8):
        root = isqrt(root)
    return root


_ANY_ORDER = {"reassoc", "contract", "nsz"}
POWERS = np.array([power_of_minus(i) for i in range(256)], np.int32)


@compiled(inline=True)
def _hidden(rows, steps, padded, cell, hidden, shift, cap):
    """Fills the hidden numbers of one cell: its neighbours' rows summed, squared where positive, limited.

    Args:
        rows: int16 [NEIGHBOURS, K + 1, H].
        steps: int64 [NEIGHBOURS], where the neighbours lie in the padded grid.
        padded: int64, ids so far, K around them.
        cell: the cell's place in it.
        hidden: float32 [H], filled.
        shift, cap: the squares are divided by 2^shift, rounded and limited to `cap`.
    """
    a, b = rows[0, padded[cell + steps[0]]], rows[1, padded[cell + steps[1]]]
    c, d = rows[2, padded[cell + steps[2]]], rows[3, padded[cell + steps[3]]]
    e, f = rows[4, padded[cell + steps[4]]], rows[5, padded[cell + steps[5]]]
    g, h = rows[6, padded[cell + steps[6]]], rows[7, padded[cell + steps[7]]]
    by, half, most = np.uint32(shift) & np.uint32(31), np.uint32((1 << shift) >> 1), np.uint32(cap)
    for k in range(len(hidden)):  # one loop, and 16 and 32 bits throughout: it becomes vectors of eight
        z = np.uint32(max(np.int16(a[k] + b[k] + c[k] + d[k] + e[k] + f[k] + g[k] + h[k]), np.int16(0)))
        square = np.uint32(np.uint32(np.uint32(z * z) + half) >> by)
        hidden[k] = np.int32(min(square, most))


@compiled(inline=True)
def _dots(hidden, weights, dots):
    """Fills the eight dot products of `hidden` [H] with a node's weights [FAN, H]; exact."""
    a = b = c = d = e = f = g = h = np.float32(0)
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    we, wf, wg, wh = weights[4], weights[5], weights[6], weights[7]
    for k in range(len(hidden)):  # eight sums in one loop: each hidden number is loaded once
        x = hidden[k]
        a += x * wa[k]
        b += x * wb[k]
        c += x * wc[k]
        d += x * wd[k]
        e += x * we[k]
        f += x * wf[k]
        g += x * wg[k]
        h += x * wh[k]
    dots[0], dots[1], dots[2], dots[3] = a, b, c, d
    dots[4], dots[5], dots[6], dots[7] = e, f, g, h


@compiled(inline=True)
def _shares(dots, bias, powers, weight, ends, row):
    """Where the slots of a node's children end, in ends[row : row + FAN]; absent children get none.

    Args:
        dots: float32 [FAN].
        bias: int32 [FAN] of the node.
        powers: `POWERS`.
        weight: int32 [FAN], scratch.
        ends: int16, filled.
        row: where the node's begin.
    """
    top = np.int32(ABSENT)
    for c in range(FAN):
        score = np.int32(np.int32(dots[c]) + bias[c])
        weight[c] = score
        top = max(top, score)
    total, present = np.uint32(0), np.uint32(0)
    for c in range(FAN):
        below = np.uint32(np.uint32(top - weight[c]) >> np.uint32(UNIT - 8))
        part = np.uint32(powers[below & np.uint32(255)]) >> min(below >> np.uint32(8), np.uint32(31))
        weight[c] = part
        total = np.uint32(total + part)
        present = np.uint32(present + np.uint32(bias[c] > ABSENT))
    share = np.uint32(np.uint32(np.uint32((1 << BITS) - present) << np.uint32(16)) // total)
    end = np.int32(1 << BITS)
    for c in range(FAN - 1, -1, -1):  # from the last, so that child 0 gets what is missing
        ends[row + U(c)] = end
        scaled = np.uint32(np.uint32(np.uint32(weight[c]) * share) >> np.uint32(16))
        end = np.int32(end - np.int32(scaled + np.uint32(bias[c] > ABSENT)))


@compiled(fastmath=_ANY_ORDER)
def encode(ids, shape, steps, rows, weights, bias, levels, place, shift, cap, powers):
    """Encodes blocks of equally many rows: finds the interval of each choice, then codes them from the last one on.

    Args:
        ids: integers [n, rows * h * w].
        shape: (h, w).
        steps: int64 [NEIGHBOURS], the neighbours as distances in the padded grid.
        rows: int16 [NEIGHBOURS, K + 1, H].
        weights: float32 [nodes, FAN, H], whole numbers.
        bias: int32 [nodes, FAN].
        levels: int64 [D], first node of each level from the root.
        place: int64 [K], each id's leaf.
        shift, cap: of the hidden numbers.
        powers: `POWERS`.

    Returns:
        (words uint16 [W], how many each block has int64 [n]).
    """
    n, cells = ids.shape
    height, width = shape
    depth, wide, size, vocabulary = len(levels), width + 2 * MARGIN, rows.shape[2], rows.shape[1] - 1
    first, frequency = np.zeros(cells * depth, np.int64), np.zeros(cells * depth, np.int64)
    words, lengths = np.empty(n * (depth * cells + WORDS), np.uint16), np.empty(n, np.int64)
    at = len(words)
    padded = np.full((height + MARGIN) * wide, vocabulary, np.int64)
    hidden, dots = np.zeros(size, np.float32), np.zeros(FAN, np.float32)
    weight, ends = np.zeros(FAN, np.int32), np.zeros(_ROW, np.int16)
    for b in range(n - 1, -1, -1):
        for i in range(cells):
            j = i % (height * width)
            if j == 0:
                padded[:] = vocabulary
            cell = (j // width + MARGIN) * wide + j % width + MARGIN
            _hidden(rows, steps, padded, cell, hidden, shift, cap)
            for d in range(depth):
                leaf = place[ids[b, i]] >> (3 * (depth - 1 - d))
                node = levels[d] + (leaf >> 3)
                _dots(hidden, weights[node], dots)
                _shares(dots, bias[node], powers, weight, ends, U(1))
                first[i * depth + d] = ends[leaf & 7]
                frequency[i * depth + d] = ends[1 + (leaf & 7)] - ends[leaf & 7]
            padded[cell] = ids[b, i]
        x, end = LOW, at
        for i in range(cells - 1, -1, -1):
            x ^= U(place[ids[b, i]])  # see rans
            for c in range(i * depth + depth - 1, i * depth - 1, -1):
                x, at = put(x, U(first[c]), U(frequency[c]), words, at)
        at = flushed(x, words, at)
        lengths[b] = end - at
    return words[at:], lengths


@compiled(inline=True)
def _take(x, words, at, last, ends, row):
    """Takes one of eight children out of the state, by ends[row + 1 : row + 9]; see `rans.take`."""
    slot = np.int16(x & SLOTS)
    child = U(0)
    for c in range(1, FAN):
        child += U(ends[row + U(c)] <= slot)
    first = U(ends[row + child])
    x, at = refilled((U(ends[row + child + U(1)]) - first) * (x >> U(BITS)) + (x & SLOTS) - first, words, at, last)
    return child, x, at


@compiled(fastmath=_ANY_ORDER)
def decode(words, starts, ends, out, shape, steps, rows, weights, bias, levels, id_of, shift, cap, powers):
    """Decodes whole blocks; arguments as in `tables_coder.decode` and `encode`.

    Never writes outside `out` nor reads outside `words`, whatever they hold: an absent child owns no slot, so that
    the path through the tree ends at a leaf with an id.

    Args:
        id_of: int64 [K], each leaf's id.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width = shape
    depth, wide, size, vocabulary = len(levels), width + 2 * MARGIN, rows.shape[2], rows.shape[1] - 1
    padded = np.empty((LANES, (height + MARGIN) * wide), np.int64)
    hidden, weight = np.zeros((LANES, size), np.float32), np.zeros(FAN, np.int32)
    dots, tables = np.zeros((LANES, FAN), np.float32), np.zeros(LANES * _ROW, np.int16)
    last = U(len(words) - 1)
    state, at, node = np.zeros(LANES, U), np.zeros(LANES, U), np.zeros(LANES, U)
    good = np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        lanes = min(LANES, n - base)
        for k in range(lanes):
            state[k], at[k] = begin(words, starts[base + k])
        for i in range(cells):
            j = i % (height * width)
            if j == 0:
                padded[:] = vocabulary
            cell = (j // width + MARGIN) * wide + j % width + MARGIN
            for k in range(lanes):
                _hidden(rows, steps, padded[k], cell, hidden[k], shift, cap)
                node[k] = 0
            for d in range(depth):
                first = U(levels[d])
                for k in range(lanes):
                    _dots(hidden[k], weights[first + node[k]], dots[k])
                for k in range(lanes):
                    _shares(dots[k], bias[first + node[k]], powers, weight, tables, U(k * _ROW + 1))
                for k in range(lanes):
                    child, state[k], at[k] = _take(state[k], words, at[k], last, tables, U(k * _ROW))
                    node[k] = node[k] * U(FAN) + child
            for k in range(lanes):
                state[k] ^= node[k]  # see rans
                padded[k, cell] = id_of[node[k]]
                out[base + k, i] = id_of[node[k]]
        for k in range(lanes):
            good[base + k] = state[k] == LOW and at[k] == U(ends[base + k])
    return good
