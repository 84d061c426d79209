"""Ids and codecs made by rule, for the tests of this folder."""

from __future__ import annotations

import numpy as np

from seit import codecs
from seit.codecs import tables_fit
from seit.codecs.learned import NEIGHBOURS, LearnedCodec, Network, levels


def smooth_ids(n: int, h: int, w: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    """Ids with a skewed histogram whose neighbours are often alike, int64 [n, h, w]."""
    raw = np.random.Philox(key=seed).random_raw(2 * n * h * w).reshape(2, n, h, w) >> np.uint64(40)
    ids = ((raw[0] / 2**24) ** 3 * vocabulary).astype(np.int64)
    for column in range(1, w):
        ids[:, :, column] = np.where(raw[1][:, :, column] % 2, ids[:, :, column - 1], ids[:, :, column])
    return ids


def network(vocabulary: int, grid: tuple[int, int], hidden: int = 16, rank: int = 4, seed: int = 0) -> LearnedCodec:
    """A learned codec whose numbers are drawn by rule instead of fitted: it predicts badly, but it is complete."""
    raw = np.random.Philox(key=seed)

    def draw(low: int, high: int, *shape: int) -> np.ndarray:
        return (low + (raw.random_raw(int(np.prod(shape))) % (high - low)).astype(np.int64)).reshape(shape)

    j, nodes = len(NEIGHBOURS), sum(levels(vocabulary))
    return LearnedCodec(
        vocabulary,
        grid,
        Network(
            shift=7,
            cap=2000,
            neighbours=np.array(NEIGHBOURS, np.int8),
            place=np.argsort(draw(0, 1 << 30, vocabulary)).astype(np.uint16),
            codes=draw(-60, 61, vocabulary + 1, rank).astype(np.int8),
            factors=draw(-60, 61, j, rank, hidden).astype(np.int8),
            scale=draw(500, 3000, hidden).astype(np.uint32),
            start=draw(-50, 200, hidden).astype(np.int16),
            weights=draw(-60, 61, nodes, 8, hidden).astype(np.int8),
            bias=draw(-8000, 1, nodes, 8).astype(np.int32),
        ),
    )


def codec(name: str, ids: np.ndarray, vocabulary: int) -> codecs.Codec:
    """A codec of any of the three names, made in no time."""
    if name == "learned":
        return network(vocabulary, ids.shape[1:])
    if name == "context":  # whether it pays or not
        place = np.argsort(np.random.Philox(key=1).random_raw(vocabulary))
        return tables_fit.of_size(ids, vocabulary, place, (6, 5, 3, 2))[0]
    return codecs.fit(name, ids, vocabulary)
