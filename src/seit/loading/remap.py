"""Rows of one data set in the ids of another that was made by the same tokenizer but kept other codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from seit.errors import RunError, StoreError
from seit.loading.pixels import joined
from seit.store import RowTable, TokenDataset, TokenRows
from seit.store.row_sequence import describe_like, hashed

_PAIRS = 1 << 22
"""Distances at a time: 32 MiB."""


class Remapped(TokenRows):
    """The rows of `base`, their ids translated to those of a classifier's data set.

    Args:
        base: the rows.
        used_codes: [K] the tokenizer's code of each id that the classifier knows.
        codebook: [K, d] their vectors; a code that the classifier never saw becomes the nearest one it did.
        classes: the classifier's classes, or some of them; labels are joined by name.
        only: give rows of other classes than `classes` the label -1, instead of refusing them.

    Raises:
        StoreError: the data set has no codebook.
        RunError: it has no labels, or classes that the classifier does not know.
    """

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
        if base.label_kind == "none":
            raise RunError("has no labels to compare with", base.path, "give images that lie in class folders")
        describe_like(self, base)
        self.base, self.classes = base, classes
        self.used_codes, self.codebook, self.vocabulary = used_codes, codebook, len(used_codes)
        self._new_ids = translation(base.used_codes, base.codebook, used_codes, codebook)
        self._numbers = np.append(joined(base.classes, classes, base.path, only), -1)  # -1: a row without a label

    def __len__(self) -> int:
        return len(self.base)

    def ids(self, indices: Any) -> np.ndarray:
        """Returns translated ids int64 [n, h, w]."""
        return self._new_ids[self.base.ids(indices)]

    def labels_at(self, indices: Any) -> np.ndarray | None:
        labels = self.base.labels_at(indices)
        if labels is None or labels.ndim == 1:
            return None if labels is None else self._numbers[labels]
        moved = np.zeros((len(labels), len(self.classes)), labels.dtype)
        known = self._numbers[:-1] >= 0
        moved[:, self._numbers[:-1][known]] = labels[:, known]
        return moved

    def rows_at(self, indices: Any) -> RowTable:
        return self.base.rows_at(indices)

    def bytes_at(self, indices: Any) -> np.ndarray:
        return self.base.bytes_at(indices)

    def fingerprint(self) -> str:
        return hashed("remapped", self.base.fingerprint(), self._new_ids.tobytes(), self._numbers.tobytes())


def translation(
    codes: np.ndarray, vectors: np.ndarray, known_codes: np.ndarray, known_vectors: np.ndarray
) -> np.ndarray:
    """Returns the id of each code in another data set: its own there, else that of the nearest vector, int64 [n].

    Args:
        codes: int [n], the tokenizer's codes.
        vectors: float32 [n, d], theirs.
        known_codes: int [K], the codes that the other data set kept.
        known_vectors: float32 [K, d], theirs.
    """
    place = {int(code): id for id, code in enumerate(known_codes)}
    ids = np.array([place.get(int(code), -1) for code in codes], np.int64)
    unknown = np.flatnonzero(ids < 0)
    known = known_vectors.astype(np.float64)
    norms = np.square(known).sum(1)
    step = max(1, _PAIRS // len(known_codes))
    for start in range(0, len(unknown), step):
        part = unknown[start : start + step]
        # The vector's own norm moves no minimum.
        ids[part] = (norms - 2 * vectors[part].astype(np.float64) @ known.T).argmin(1)
    return ids
