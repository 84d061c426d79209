"""Compiled loops for a CPU: what PyTorch does in several passes over memory, in one that stays in the cache.

Each says which PyTorch code it stands for; the tests hold it to that and to the naive reference. A row's numbers
depend on that row alone, so any split of a batch gives the same bits.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from seit.augment.draws import FIRST, GOLDEN, SECOND
from seit.images.views import random_box

U = np.uint64
"""Kernels index by unsigned numbers: signed ones would be checked for counting from an array's end."""
_GOLDEN, _FIRST, _SECOND = U(GOLDEN), U(FIRST), U(SECOND)
_TO_UNSIGNED = U(0x8000_8000_8000_8000)
"""Adds 2^15 to each of the four signed 16-bit numbers of a word."""


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def crop_resize(ids, table, boxes, down, down_weights, right, right_weights, out):
    """`resize.resize(lookup(ids, table), boxes, ...)`: nothing outside the boxes is looked up, no vector is stored.

    Args:
        ids: int64 [B, h, w], each a row of `table` (the caller has checked).
        table: float32 [K, d].
        boxes: int64 [B, 4]: top, left, height, width.
        down, down_weights: int64 and float32 [h, m, 4], `resize.taps` of boxes of 1, 2, ... h cells from 0.
        right, right_weights: [w, m', 4], of the other axis.
        out: float32 [B, m, m', d], filled.
    """
    batch, height, width, channels = out.shape
    ring = np.empty((4, width * channels), np.float32)  # row y of the box, resized to the right, at y modulo 4
    for b in range(batch):
        top, left, tall, wide = boxes[b]
        rows, row_weights = down[tall - 1], down_weights[tall - 1]
        columns, weights = right[wide - 1], right_weights[wide - 1]
        done = -1
        for y in range(height):
            for row in range(max(done + 1, rows[y, 0]), rows[y, 3] + 1):
                line, cells = ring[row & 3], ids[b, U(top + row)]
                for x in range(width):
                    v0, v1 = table[U(cells[U(left + columns[x, 0])])], table[U(cells[U(left + columns[x, 1])])]
                    v2, v3 = table[U(cells[U(left + columns[x, 2])])], table[U(cells[U(left + columns[x, 3])])]
                    _sum_of_four(v0, v1, v2, v3, weights[x], line[x * channels : (x + 1) * channels])
                done = row
            r0, r1, r2, r3 = ring[rows[y, 0] & 3], ring[rows[y, 1] & 3], ring[rows[y, 2] & 3], ring[rows[y, 3] & 3]
            _sum_of_four(r0, r1, r2, r3, row_weights[y], out[b, y].reshape(-1))


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _sum_of_four(v0, v1, v2, v3, weights, out):
    w0, w1, w2, w3 = weights
    for i in range(len(out)):
        out[i] = w0 * v0[i] + w1 * v1[i] + w2 * v2[i] + w3 * v3[i]


@nb.njit(cache=True, nogil=True)
def add_noise(vectors, rows, keys, quantiles, size):
    """Adds `size * (channel + full)` of `Noise.numbers` to some rows: `draws.normals` without storing them.

    Args:
        vectors: float32 [B, m, m', d], changed.
        rows: int64 [R], which.
        keys: int64 [R], the rows' keys.
        quantiles: float32 [2^16], `draws.quantiles`.
        size: float32, the noise's standard deviation.
    """
    channels = vectors.shape[3]
    cells = vectors.shape[1] * vectors.shape[2]
    words = (channels * (cells + 1) + 3) // 4
    numbers = np.empty(4 * words, np.float32)
    for i in range(len(rows)):
        word = U(keys[i])
        for j in range(words):
            word += _GOLDEN
            slices = _mixed(word) ^ _TO_UNSIGNED
            numbers[4 * j] = quantiles[slices & U(0xFFFF)]
            numbers[4 * j + 1] = quantiles[slices >> U(16) & U(0xFFFF)]
            numbers[4 * j + 2] = quantiles[slices >> U(32) & U(0xFFFF)]
            numbers[4 * j + 3] = quantiles[slices >> U(48)]
        row = vectors[rows[i]].reshape(-1)
        for first in range(0, cells * channels, channels):
            for c in range(channels):
                row[first + c] += size * (numbers[channels + first + c] + numbers[c])


@nb.njit(cache=True, nogil=True)
def bits(keys, count):
    """`draws.bits_by_torch`: splitmix64's first `count` outputs from keys int64 [B], int64 [B, count]."""
    out = np.empty((len(keys), count), np.int64)
    for i in range(len(keys)):
        word = U(keys[i])
        for j in range(count):
            word += _GOLDEN
            out[i, j] = np.int64(_mixed(word))
    return out


@nb.njit(cache=True, nogil=True)
def uniforms(keys, count):
    """`draws.uniforms`: the upper 24 of each word of `bits` as a multiple of 2^-24, float32 [B, count]."""
    out = np.empty((len(keys), count), np.float32)
    for i in range(len(keys)):
        word = U(keys[i])
        for j in range(count):
            word += _GOLDEN
            out[i, j] = np.float32(_mixed(word) >> U(40)) * np.float32(2.0**-24)
    return out


_random_box = nb.njit(cache=True, nogil=True)(random_box)


@nb.njit(cache=True, nogil=True)
def resized_boxes(u, height, width, scale, ratio):
    """`images.views.random_box` of every row of uniform numbers float64 [B, 2 tries + 2], int64 [B, 4]."""
    out = np.empty((len(u), 4), np.int64)
    for row in range(len(u)):
        out[row] = _random_box(u[row], height, width, scale, ratio)
    return out


@nb.njit(cache=True, nogil=True)
def square_places(rows, side, corners, height, width):
    """Returns the cells of `swap.exchange`'s squares as places in the flat batch, int64 [2, cells in all]."""
    out = np.empty((2, (side * side).sum()), np.int64)
    for which in range(2):
        found = 0
        for i in range(len(rows)):
            first = (rows[i] * height + corners[i, which, 0]) * width + corners[i, which, 1]
            for y in range(side[i]):
                for x in range(side[i]):
                    out[which, found] = first + y * width + x
                    found += 1
    return out


@nb.njit(cache=True, nogil=True)
def _mixed(word):
    word = (word ^ word >> U(30)) * _FIRST
    word = (word ^ word >> U(27)) * _SECOND
    return word ^ word >> U(31)
