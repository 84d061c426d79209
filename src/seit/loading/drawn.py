"""Images that are read and changed anew whenever a training asks for them, by worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from seit import ranks
from seit.errors import SeitError
from seit.images import Source, decode

Change = Callable[[Any, int, int, int], np.ndarray]


class DrawnPixels:
    """The training images of a source, each read again and changed by chance whenever it is asked for.

    Worker processes read, decode and change them, as many as there are cores for this process.

    Args:
        source: the images.
        change: from a decoded picture, seed, epoch and position to a view uint8 [H, W, 3].
        grid: (H, W).

    Attributes:
        grid, labels, classes, views: as of `PixelRows`.
    """

    views = 1

    def __init__(self, source: Source, change: Change, grid: tuple[int, int]) -> None:
        self._source, self._change, self.grid = source, change, grid
        self.classes, self.labels = source.classes, source.labels[: source.splits["train"]]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Refuses: there is no image without its draw."""
        raise NotImplementedError("use read")

    def read(
        self, plan: Iterable[tuple[np.ndarray, np.ndarray]], seed: int, epoch: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields positions, images uint8 [n, 3, H, W] and labels of each (positions, rows) of a plan, in its order.

        An image depends on (seed, epoch, position) alone, whatever the number of workers.

        Raises:
            ImageError: a file cannot be read.
        """
        from torch.utils.data import DataLoader

        workers = max(1, _cores() // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count())))
        views: Any = _Views(self._source, self._change, seed, epoch)
        for found in DataLoader(views, batch_size=None, sampler=plan, num_workers=workers, collate_fn=list):
            if isinstance(found[0], SeitError):
                raise found[0]
            positions, rows, images = found
            yield positions, images.numpy().transpose(0, 3, 1, 2), self.labels[rows]


class _Views:
    """What a worker process does: (positions, rows) -> the same and the views, or the error."""

    def __init__(self, source: Source, change: Change, seed: int, epoch: int) -> None:
        self.source, self.change, self.seed, self.epoch = source, change, seed, epoch

    def __getitem__(self, asked: tuple[np.ndarray, np.ndarray]) -> list[Any]:
        import torch

        try:
            pairs = zip(*(one.tolist() for one in asked), strict=True)
            images = np.stack([self._view(position, row) for position, row in pairs])
            return [*asked, torch.from_numpy(images)]  # a tensor, because torch hands those over in shared memory
        except SeitError as error:  # as a value: torch would wrap its message in a traceback
            return [error]

    def _view(self, position: int, row: int) -> np.ndarray:
        image = self.source[row]
        return self.change(decode(image.read(), image.name), self.seed, self.epoch, position)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
