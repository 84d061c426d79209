"""The kernels of the learned code: a small network in exact integers predicts each id before it is coded.

For every cell the rows of its neighbours' ids are summed to some hidden numbers, which are squared where positive.
The id is then found in a tree of fan-out 8: at each level, log-probabilities of 8 children are the dot products of
the hidden numbers with the node's weights. 512 ids are 3 levels: 24 dot products instead of 512.

Encoder and decoder call the same functions, and these give the same numbers on every machine: everything is an
integer. Dot products are computed in float32 because processors multiply those fastest; the loader has checked that
no partial sum can reach 2^24, so they are exact whatever the order of summation. Several blocks are
decoded side by side because one alone waits for its own results.
"""

from __future__ import annotations

from math import isqrt

import numba as nb
import numpy as np

from seit.codecs.rans import BITS, WORDS

FAN = 8
LANES = 4
"""Blocks decoded side by side."""
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


POWERS = np.array([power_of_minus(i) for i in range(256)], np.int32)


@nb.njit(cache=True, nogil=True)
def _hidden(rows, steps, padded, cell, total, hidden, shift, cap):
    """Fills the hidden numbers of one cell: its neighbours' rows summed, squared where positive, limited.

    Args:
        rows: int16 [J, K + 1, H], J a multiple of 4: four rows at a time, or the sums would wait for memory.
        steps: int64 [J], where the neighbours lie in the padded grid.
        padded: int64, ids so far, K around them.
        cell: the cell's place in it.
        total: int16 [H], scratch.
        hidden: float32 [H], filled.
        shift, cap: the squares are divided by 2^shift, rounded and limited to `cap`.
    """
    total[:] = 0
    for j in range(0, len(steps), 4):
        a = rows[j, padded[cell + steps[j]]]
        b = rows[j + 1, padded[cell + steps[j + 1]]]
        c = rows[j + 2, padded[cell + steps[j + 2]]]
        d = rows[j + 3, padded[cell + steps[j + 3]]]
        for k in range(len(total)):
            total[k] += a[k] + b[k] + c[k] + d[k]
    half = np.int32((1 << shift) >> 1)
    for k in range(len(total)):
        z = np.int32(max(total[k], np.int16(0)))
        square = np.int32(np.int32(z * z) + half) >> np.int32(shift)
        hidden[k] = min(square, np.int32(cap))


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
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


@nb.njit(cache=True, nogil=True)
def _shares(dots, bias, powers, frequency):
    """Fills `frequency` [FAN] of a node's children: positive, summing to 2^BITS; absent children get 0."""
    top = np.int32(ABSENT)
    for c in range(FAN):
        score = np.int32(np.int32(dots[c]) + bias[c])
        frequency[c] = score
        top = max(top, score)
    total, present = np.int32(0), np.int32(0)
    for c in range(FAN):
        below = np.uint32(top - frequency[c]) >> np.uint32(UNIT - 8)
        weight = np.int32(powers[below & np.uint32(255)] >> min(below >> np.uint32(8), np.uint32(31)))
        present += np.int32(bias[c] > ABSENT)
        total += weight
        frequency[c] = weight
    share = np.int32(np.int32((np.int32(1 << BITS) - present) << 16) // total)
    rest = np.int32(1 << BITS)
    for c in range(FAN):
        scaled = np.int32(frequency[c] * share) >> np.int32(16)
        weight = np.int32(scaled + np.int32(bias[c] > ABSENT))
        rest -= weight
        frequency[c] = weight
    frequency[0] += rest


@nb.njit(cache=True, nogil=True)
def intervals(ids, shape, steps, rows, weights, bias, levels, place, shift, cap, powers):
    """The intervals that code some blocks.

    Args:
        ids: integers [n, rows * h * w].
        shape: (h, w).
        steps: int64 [J], the neighbours as distances in the padded grid.
        rows: int16 [J, K + 1, H].
        weights: float32 [nodes, FAN, H], whole numbers.
        bias: int32 [nodes, FAN].
        levels: int64 [D], first node of each level from the root.
        place: int64 [K], each id's leaf.
        shift, cap: of the hidden numbers.
        powers: `POWERS`.

    Returns:
        (first, frequency), int64 [n, rows * h * w * D].
    """
    n, cells = ids.shape
    height, width = shape
    depth, wide, size, vocabulary = len(levels), width + 2 * MARGIN, rows.shape[2], rows.shape[1] - 1
    first = np.zeros((n, cells * depth), np.int64)
    frequency = np.zeros((n, cells * depth), np.int64)
    padded = np.full((height + MARGIN) * wide, vocabulary, np.int64)
    total, hidden = np.zeros(size, np.int16), np.zeros(size, np.float32)
    dots, part = np.zeros(FAN, np.float32), np.zeros(FAN, np.int32)
    for b in range(n):
        for i in range(cells):
            j = i % (height * width)
            if j == 0:
                padded[:] = vocabulary
            cell = (j // width + MARGIN) * wide + j % width + MARGIN
            _hidden(rows, steps, padded, cell, total, hidden, shift, cap)
            for d in range(depth):
                leaf = place[ids[b, i]] >> (3 * (depth - 1 - d))
                node = levels[d] + (leaf >> 3)
                _dots(hidden, weights[node], dots)
                _shares(dots, bias[node], powers, part)
                for c in range(leaf & 7):
                    first[b, i * depth + d] += part[c]
                frequency[b, i * depth + d] = part[leaf & 7]
            padded[cell] = ids[b, i]
    return first, frequency


@nb.njit(cache=True, nogil=True)
def decode(payload, starts, ends, out, shape, steps, rows, weights, bias, levels, id_of, shift, cap, powers):
    """Decodes whole blocks; arguments as in `rans.decode` and `intervals`.

    Never reads outside `payload` nor writes outside `out`, whatever the bytes are: a frequency of 0 owns no slot,
    so that the path through the tree ends at a leaf with an id.

    Args:
        id_of: int64 [K], each leaf's id.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width = shape
    depth, wide, size, vocabulary = len(levels), width + 2 * MARGIN, rows.shape[2], rows.shape[1] - 1
    padded = np.empty((LANES, (height + MARGIN) * wide), np.int64)
    total, hidden = np.zeros(size, np.int16), np.zeros((LANES, size), np.float32)
    dots, part = np.zeros((LANES, FAN), np.float32), np.zeros((LANES, FAN), np.int32)
    block, state, node = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    at, last = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    good = np.zeros(n, np.bool_)
    low, mask = np.int64(1) << (16 * (WORDS - 1)), (1 << BITS) - 1
    for base in range(0, n, LANES):
        lanes = min(LANES, n - base)
        for k in range(lanes):
            b = base + k
            block[k], at[k], last[k], state[k] = b, starts[b] + 2 * WORDS, ends[b] - 2, 0
            for q in range(starts[b], at[k], 2):
                state[k] = (state[k] << 16) | np.int64(payload[q]) | (np.int64(payload[q + 1]) << 8)
        for i in range(cells):
            j = i % (height * width)
            if j == 0:
                padded[:] = vocabulary
            cell = (j // width + MARGIN) * wide + j % width + MARGIN
            for k in range(lanes):
                _hidden(rows, steps, padded[k], cell, total, hidden[k], shift, cap)
                node[k] = 0
            for d in range(depth):
                for k in range(lanes):
                    _dots(hidden[k], weights[levels[d] + node[k]], dots[k])
                for k in range(lanes):
                    _shares(dots[k], bias[levels[d] + node[k]], powers, part[k])
                for k in range(lanes):
                    slot, child, first, end = state[k] & mask, np.int64(0), np.int64(0), np.int64(0)
                    for c in range(FAN - 1):  # no branch to mispredict
                        end += part[k, c]
                        child += slot >= end
                        first = end if slot >= end else first
                    x = part[k, child] * (state[k] >> BITS) + slot - first
                    q = min(at[k], last[k])
                    word = np.int64(payload[q]) | (np.int64(payload[q + 1]) << 8)
                    need = x < low
                    state[k] = x << 16 | word if need else x
                    at[k] += 2 if need else 0
                    node[k] = node[k] * FAN + child
            for k in range(lanes):
                state[k] ^= node[k]  # see rans
                padded[k, cell] = id_of[node[k]]
                out[block[k], i] = id_of[node[k]]
        for k in range(lanes):
            good[block[k]] = state[k] == low and at[k] == last[k] + 2
    return good
