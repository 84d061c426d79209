"""The contract of an evaluation, and how rows become batches and batches logits for those that classify."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from seit import ranks
from seit.loading.rows import Rows
from seit.models.pipeline import ImageClassifier

Classify = Callable[[Tensor], Tensor]
"""Maps a batch of a rows object (ids [B, h, w], or pixels [B, 3, H, W]) to logits [B, C]."""
_CELLS = 1 << 23


class Evaluation(ABC):
    """Measures a model along its training and at the end.

    Attributes:
        every: epochs from one measurement to the next.
        score: which of its values, the larger the better, says which weights are the best; None for none.
    """

    every: int = 1
    score: str | None = None

    @abstractmethod
    def __call__(self, model: Any) -> Iterator[tuple[str, float]]:
        """Yields what was measured, (name, value), the same on every process; `model` is in evaluation mode."""


class OfClasses(Evaluation):
    """An evaluation of a classifier on labelled rows.

    Args:
        rows: labelled rows; their labels count in `classes`.
        classes: C names in the order of the logits.
        every: epochs from one measurement to the next.
        precision: the recipe's, in which the classifier works.

    Attributes:
        details: all that the last measurement gave.
    """

    def __init__(self, rows: Rows, classes: list[str], every: int = 1, precision: str = "float32") -> None:
        self.rows, self.classes, self.every, self.precision = rows, classes, every, precision
        self.details: dict[str, Any] = {}

    def classify(self, model: nn.Module) -> Classify:
        """Returns the map from this object's rows to a classifier's logits."""
        return ImageClassifier(model, None, self.classes, {}, self.precision).classify  # type: ignore[arg-type]


def shares(rows: Rows) -> Iterator[np.ndarray]:
    """Yields the row numbers of this process's batches: every row in one of one process's."""
    mine = np.arange(ranks.rank(), len(rows), ranks.count())
    step = max(1, min(512, _CELLS // (rows.grid[0] * rows.grid[1])))
    for start in range(0, len(mine), step):
        yield mine[start : start + step]
