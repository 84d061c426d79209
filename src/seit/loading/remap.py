"""Rows of one data set in the ids of another that was made by the same tokenizer but kept other codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from seit.errors import RunError, StoreError
from seit.loading.pixels import joined
from seit.store import TokenDataset, TokenRows


class Remapped:
    """The rows of `base`, their ids translated to those of a classifier's data set.

    Args:
        base: the rows.
        used_codes: [K] the tokenizer's code of each id that the classifier knows.
        codebook: [K, d] their vectors; a code that the classifier never saw becomes the nearest one it did.
        classes: the classifier's classes, or some of them; labels are joined by name.
        only: leave out rows of other classes than `classes`, instead of refusing them.

    Raises:
        StoreError: the data set has no codebook.
        RunError: it has no labels, or classes that the classifier does not know.
    """

    views = 1

    def __init__(
        self,
        base: TokenDataset,
        used_codes: np.ndarray,
        codebook: np.ndarray,
        classes: list[str],
        only: bool = False,
    ) -> None:
        if base.codebook is None:
            raise StoreError("has no codebook", base.path, "tokenize the images again")
        if base.labels_at([]) is None:
            raise RunError("has no labels to compare with", base.path, "give images that lie in class folders")
        chosen = [name for name in base.classes if name in set(classes)]
        self.base: TokenRows = base.with_classes(chosen) if only else base
        self.grid, self.classes = base.grid, classes
        place = {int(code): i for i, code in enumerate(used_codes)}
        distance = ((base.codebook[:, None] - codebook[None]) ** 2).sum(-1)
        self._ids = np.array(
            [place.get(int(code), int(distance[i].argmin())) for i, code in enumerate(base.used_codes)]
        )
        self._labels = np.append(joined(base.classes, classes, base.path, only), -1)  # -1: a row without a label

    def __len__(self) -> int:
        return len(self.base)

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns translated ids int64 [n, h, w] and labels int64 [n], bool or float32 [n, C], or None."""
        ids, labels = self.base.batch(indices)
        if labels is None or labels.ndim == 1:
            return self._ids[ids], None if labels is None else self._labels[labels]
        found = np.zeros((len(labels), len(self.classes)), labels.dtype)
        known = self._labels[:-1] >= 0
        found[:, self._labels[:-1][known]] = labels[:, known]
        return self._ids[ids], found
