"""Images as rows, for the pixel run that a token run is compared with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from seit.errors import RunError
from seit.images import Source, decode, to_view
from seit.progress import progress

_KEPT_BYTES = 4 << 30


class PixelRows:
    """The views of one split of a source, decoded once if they fit in 4 GiB, else whenever they are asked for.

    Args:
        source: the images.
        split: "train", "val" or "all".
        preprocessing: how an image becomes a view (see `seit.images.to_view`).
        classes: the class order that labels count in, where it is not the source's own; joined by name.
        only: leave out images of other classes than `classes`, instead of refusing them.

    Raises:
        RunError: the source has no labels, or a class that `classes` lacks.

    Attributes:
        grid: (H, W) of a view, pixels.
        labels: int64 [N].
        classes: class names in label order.
        views: 1; an image is one row.
    """

    views = 1

    def __init__(
        self,
        source: Source,
        split: str,
        preprocessing: dict[str, Any],
        classes: list[str] | None = None,
        only: bool = False,
    ) -> None:
        self._source, self._preprocessing = source, preprocessing
        if not source.classes:
            raise RunError("has no labels", source.name, "give images that lie in class folders")
        self.classes = source.classes if classes is None else classes
        positions = np.array(source.split(split), np.int64)
        labels = joined(source.classes, self.classes, source.name, only)[source.labels[positions]]
        self._positions, self.labels = positions[labels >= 0], labels[labels >= 0]
        side = preprocessing["size"]
        self.grid = (side, side)
        self._pool = ThreadPoolExecutor()
        self._kept: np.ndarray | None = None
        if len(self) * side * side * 3 <= _KEPT_BYTES:
            kept = np.empty((len(self), side, side, 3), np.uint8)
            with progress(len(self), f"decode {split}", "images") as bar:
                for row, view in enumerate(self._pool.map(self._view, range(len(self)))):
                    kept[row] = view
                    bar.update(1)
            self._kept = kept

    def __len__(self) -> int:
        return len(self._positions)

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns images float32 [n, 3, H, W] in [-1, 1] and labels int64 [n]."""
        views = (
            self._kept[indices] if self._kept is not None else np.stack(list(self._pool.map(self._view, indices)))
        )
        return views.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1, self.labels[indices]

    def _view(self, row: int) -> np.ndarray:
        image = self._source[int(self._positions[row])]
        return to_view(decode(image.read(), image.name), self._preprocessing)


def joined(classes: list[str], wanted: list[str], where: str, only: bool = False) -> np.ndarray:
    """Returns the position in `wanted` of each of `classes`, by name: int64 [len(classes)], -1 for none.

    Args:
        classes: those of the rows.
        wanted: those of the classifier.
        where: the rows' place, for the error.
        only: let `wanted` be a part of them.

    Raises:
        RunError: `wanted` lacks one, and not `only`.
    """
    unknown = sorted(set(classes) - set(wanted))
    if unknown and not only:
        raise RunError(
            f"holds classes that the classifier does not know: {', '.join(unknown[:5])}", where, "leave them out"
        )
    place = {name: position for position, name in enumerate(wanted)}
    return np.array([place.get(name, -1) for name in classes], np.int64)
