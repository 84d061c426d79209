"""What a training is fed: this process's part of every batch, from any step on, so that it can go on anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from seit import ranks
from seit.errors import StoreError
from seit.loading.loader import epoch_size, rows_of, share_of
from seit.loading.rows import Asked, Rows


class Batch(NamedTuple):
    """One process's part of one step.

    Attributes:
        epoch: its number.
        positions: int64 [b], the rows' places in the epoch, which no two of its rows share. Whatever is drawn for a
            row is drawn from them, so rows that are fed again (replay) need places of their own. Places 2i and
            2i + 1 of a batch are mixed with each other and stand side by side.
        rows: int64 [b], which rows they are, for whoever has to name them.
        inputs: ids [b, h, w], or pixels uint8 [b, 3, H, W].
        labels: int64 [b], bool or float32 [b, C], or None.
        size: rows of the whole batch, of which this process has b.
    """

    epoch: int
    positions: np.ndarray
    rows: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray | None
    size: int


class Feed(Protocol):
    """Where the batches of a training come from.

    Attributes:
        batch_size: rows of a step over all processes.
        epoch_steps: steps of an epoch.
    """

    batch_size: int
    epoch_steps: int

    def batches(self, step: int) -> Iterator[Batch]:
        """Yields this process's part of every batch from step number `step` on, without end.

        A batch depends on its step alone, not on what was fed before.
        """


class RowFeed:
    """Feeds rows in an order that is new in every epoch; an incomplete last batch is left out.

    Args:
        rows: N of them.
        batch_size: rows of a step over all processes, at most N.
        seed: of the order.
        one_view, repeats: see `seit.loading.batches`.

    Raises:
        StoreError: there is no row, or a batch has fewer pairs of rows than there are processes.
    """

    def __init__(self, rows: Rows, batch_size: int, seed: int, one_view: bool = False, repeats: int = 1) -> None:
        size = epoch_size(rows, one_view)
        self.rows, self.seed, self.one_view, self.repeats = rows, seed, one_view, repeats
        self.batch_size = min(batch_size, size)
        if not size or (self.batch_size + 1) // 2 < ranks.count():
            problem = f"a batch of {self.batch_size} rows for {ranks.count()} processes"
            raise StoreError(problem, "training rows", "give each process at least two rows")
        self.epoch_steps = size // self.batch_size

    def batches(self, step: int) -> Iterator[Batch]:
        """Yields this process's part of every batch from step number `step` on, without end."""
        for asked, inputs, labels in self.rows.read(self._plan(step), self.seed):
            yield Batch(asked.epoch, asked.positions, asked.rows, inputs, labels, self.batch_size)

    def _plan(self, step: int) -> Iterator[Asked]:
        for number in itertools.count(step):
            epoch, place = divmod(number, self.epoch_steps)
            first = place * self.batch_size
            positions = share_of(np.arange(first, first + self.batch_size), ranks.rank(), ranks.count())
            rows = rows_of(
                self.rows,
                positions,
                self.seed,
                epoch,
                one_view=self.one_view,
                repeats=self.repeats,
                batch_size=self.batch_size,
            )
            yield Asked(epoch, positions, rows)
