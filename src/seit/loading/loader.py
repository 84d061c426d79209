"""Batches of ids for training: one background thread decodes the next batch while the current one is used.

No worker processes: decoding releases Python's lock and outruns any trunk. Rank r of w takes its share of every
global batch, so the sequence of global batches is the same for any number of ranks. Shares are whole pairs, because
CutMix mixes rows 2i and 2i + 1 of the global batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seit.errors import StoreError
from seit.loading.order import shuffled, view_of
from seit.loading.rows import Asked, Rows

Loaded = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Positions int64 [b] within the epoch, inputs (ids [b, h, w] or pixels uint8 [b, 3, H, W]), and labels or None."""


def batches(
    dataset: Rows,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    shuffle: bool = True,
    *,
    rank: int = 0,
    ranks: int = 1,
    one_view: bool = False,
    repeats: int = 1,
    drop_last: bool = False,
) -> Iterator[Loaded]:
    """Yields the batches of one epoch, for a loop of one's own.

    Args:
        dataset: N rows.
        batch_size: B rows of a global batch, over all ranks; the last batch of an epoch may be smaller.
        seed, epoch: the order depends on these and N alone.
        start: positions of this epoch that were used already (mid-epoch resume).
        shuffle: a new full permutation each epoch, or stored order.
        rank, ranks: this process takes every `ranks`-th pair of rows of each batch, beginning with pair `rank`.
        one_view: an epoch visits every image once, in a view drawn from (seed, epoch, image), instead of all rows.
        repeats: repeated augmentation: each image of a batch stands in it so many times (see `rows_of`).
        drop_last: leave out an incomplete last batch.

    Yields:
        positions int64 [b] within the epoch, ids [b, h, w] (or pixels uint8 [b, 3, H, W]), labels [b] (or [b, C],
        or None).

    Raises:
        StoreError: a batch with fewer pairs than ranks, or a start beyond the epoch.
    """
    size = epoch_size(dataset, one_view)
    if (batch_size + 1) // 2 < ranks or not 0 <= rank < ranks:
        problem = f"batch size {batch_size} on rank {rank} of {ranks}"
        raise StoreError(problem, "batches", "give each rank at least two rows")
    if not 0 <= start <= size:
        raise StoreError(f"start {start} of {size} positions", "batches", "resume within the epoch")
    stop = size - (size - start) % batch_size if drop_last else size

    def plan() -> Iterator[Asked]:
        for first in range(start, stop, batch_size):
            positions = share_of(np.arange(first, min(first + batch_size, stop)), rank, ranks)
            options = {"repeats": repeats, "batch_size": batch_size}
            yield Asked(epoch, positions, rows_of(dataset, positions, seed, epoch, shuffle, one_view, **options))

    for asked, inputs, labels in dataset.read(plan(), seed):
        yield asked.positions, inputs, labels


def share_of(positions: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """Returns the positions of a whole batch that one rank takes: every `ranks`-th pair, beginning with its own."""
    return positions[np.arange(len(positions)) // 2 % ranks == rank]


def epoch_size(dataset: Rows, one_view: bool = False) -> int:
    """Returns how many positions one epoch has: rows, or images if each is visited once."""
    return len(dataset) // dataset.views if one_view else len(dataset)


def rows_of(
    dataset: Rows,
    positions: np.ndarray,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    one_view: bool = False,
    *,
    repeats: int = 1,
    batch_size: int = 1,
) -> np.ndarray:
    """Returns which row of `dataset` stands at each position of an epoch, int64 [n].

    With `repeats` r, place q of a batch of B holds its image number q modulo ceil(B / r): every image r times, its
    copies far apart, because neighbours are mixed with each other. An epoch has as many batches as without.
    """
    if repeats > 1:
        images = -(-batch_size // repeats)
        positions = positions // batch_size * images + positions % batch_size % images
    places = shuffled(positions, epoch_size(dataset, one_view), seed, epoch) if shuffle else positions
    if not one_view or dataset.views == 1:
        return places
    return places * dataset.views + view_of(places, dataset.views, seed, epoch)
