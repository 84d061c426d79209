"""What a trainer reads: rows of ids or of pixels, asked for in batches."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """A sequence of rows; `TokenRows` and `PixelRows` are some.

    Attributes:
        grid: (h, w) cells, or (H, W) pixels.
        classes: class names in label order.
        views: consecutive rows that show one image.
    """

    grid: tuple[int, int]
    classes: list[str]
    views: int

    def __len__(self) -> int: ...

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns ids [n, h, w] or pixels [n, 3, H, W] of the given rows, and their labels (or None)."""
