"""Images that are read and changed anew whenever a training asks for them, by worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from seit import ranks
from seit.errors import SeitError
from seit.images import Source
from seit.loading.pixels import PixelRows
from seit.store.row_sequence import Asked, Loaded

Change = Callable[[Any, int, int, int], np.ndarray]


class DrawnPixels(PixelRows):
    """The training images of a source; a plan gets each of them changed by chance, from the file's own resolution.

    `batch` gives the views as they are without the change. Worker processes read, decode and change what a plan
    asks for, as many as there are cores for this process.

    Args:
        source: the images.
        change: from a decoded picture, seed, epoch and position to a view uint8 [H, W, 3].
        grid: (H, W).
    """

    def __init__(self, source: Source, change: Change, grid: tuple[int, int]) -> None:
        super().__init__(source, "train", {"size": list(grid), "resize": "crop", "interpolation": "bicubic"})
        self._change = change

    def read(self, plan: Iterable[Asked], seed: int) -> Iterator[Loaded]:
        """Yields the batches of a plan in its order; an image depends on (seed, epoch, position) alone.

        Raises:
            ImageError: a file cannot be read.
        """
        from torch.utils.data import DataLoader

        workers = max(1, _cores() // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count())))
        views: Any = _Changed(self, self._change, seed)
        # One loader for the whole plan, so that an epoch's end stops no worker.
        for read in DataLoader(views, batch_size=None, sampler=plan, num_workers=workers, collate_fn=list):
            if isinstance(read[0], SeitError):
                raise read[0]
            asked, images = read
            yield asked, images.numpy().transpose(0, 3, 1, 2), self.labels_at(asked.rows)


class _Changed:
    """What a worker process does: from a batch of the plan to the same and its views, or to the error."""

    def __init__(self, rows: PixelRows, change: Change, seed: int) -> None:
        self.rows, self.change, self.seed = rows, change, seed

    def __getitem__(self, asked: Asked) -> list[Any]:
        import torch

        try:
            images = [
                self.change(self.rows.picture(row), self.seed, asked.epoch, position)
                for position, row in zip(asked.positions.tolist(), asked.rows.tolist(), strict=True)
            ]
            return [asked, torch.from_numpy(np.stack(images))]  # a tensor: torch passes those in shared memory
        except SeitError as error:  # as a value: torch would wrap its message in a traceback
            return [error]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
