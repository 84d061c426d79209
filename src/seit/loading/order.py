"""The order of an epoch: a full permutation computed position by position, so that no list of rows exists.

A position is written as (left, right), two digits to the base ceil(sqrt(N)); adding to one digit a scrambled word
of the other, modulo the base, can be undone, so any number of such rounds is a permutation (a Feistel network).
The few positions that it sends beyond the last row go through it again until they land (cycle walking). The order
depends on (seed, epoch, N) alone, whatever the batch size, the number of ranks or the place where a run resumes.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

_ROUNDS = 8
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def shuffled(positions: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the row at each position of a shuffled epoch.

    Args:
        positions: int64 [n] in 0..size-1.
        size: N, rows of the epoch.
        seed: of the run.
        epoch: each has its own order.

    Returns:
        int64 [n]; over all positions each row occurs exactly once.
    """
    keys = _keys(seed, epoch)
    base = math.isqrt(max(size - 1, 0)) + 1
    rows = np.asarray(positions, np.uint64).copy()
    outside = np.arange(len(rows))
    while len(outside):
        rows[outside] = _feistel(rows[outside], base, keys)
        outside = outside[rows[outside] >= size]
    return rows.astype(np.int64)


def view_of(images: np.ndarray, views: int, seed: int, epoch: int) -> np.ndarray:
    """Draws one view of each image from (seed, epoch, image): int64 [n] in 0..views-1."""
    key = _keys(seed, epoch)[0] ^ np.uint64(0x76696577)
    return (_mixed(np.asarray(images, np.uint64) ^ key) % np.uint64(views)).astype(np.int64)


def _keys(seed: int, epoch: int) -> np.ndarray:
    digest = hashlib.blake2b(f"seit order {seed} {epoch}".encode(), digest_size=8 * _ROUNDS).digest()
    return np.frombuffer(digest, "<u8")


def _feistel(values: np.ndarray, base: int, keys: np.ndarray) -> np.ndarray:
    """Permutes 0..base^2-1."""
    side = np.uint64(base)
    left, right = np.divmod(values, side)
    for key in keys:
        # a 32-bit word times the base, shifted down, lies in 0..base-1: cheaper than a remainder
        step = ((_mixed(right ^ key) >> np.uint64(32)) * side) >> np.uint64(32)
        left += step
        left -= side * (left >= side)
        left, right = right, left
    return left * side + right


def _mixed(values: np.ndarray) -> np.ndarray:
    """Scrambles 64-bit words (SplitMix64's finaliser); multiplication wraps around."""
    values = values + _MIX[0]
    values = (values ^ (values >> np.uint64(30))) * _MIX[1]
    values = (values ^ (values >> np.uint64(27))) * _MIX[2]
    return values ^ (values >> np.uint64(31))
