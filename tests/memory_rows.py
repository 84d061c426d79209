"""Rows in memory, as a trainer and a loader take them."""

from __future__ import annotations

import numpy as np

from seit.loading.rows import Rows


class MemoryRows(Rows):
    """Some inputs with their labels.

    Args:
        inputs: ids [N, h, w], or pixels uint8 [N, 3, H, W].
        labels: int64 [N], bool or float32 [N, C], or None.
        classes: C names.
    """

    views, labels = 1, None

    def __init__(self, inputs: np.ndarray, labels: np.ndarray | None, classes: list[str]) -> None:
        self.inputs, self.labels, self.classes = inputs, labels, classes
        self.grid = inputs.shape[-2:]
        kind = None if labels is None else labels.dtype
        self.label_kind = {None: "none", bool: "multi", np.float32: "soft"}.get(kind and kind.type, "class")

    def __len__(self):
        return len(self.inputs)

    def batch(self, indices):
        return self.inputs[indices], self.labels_at(indices)

    def labels_at(self, indices):
        return None if self.labels is None else self.labels[indices]

    def names(self, indices):
        return [f"row {index}" for index in indices]

    def bytes_at(self, indices):
        return np.full(len(indices), self.inputs[0].nbytes, np.float64)

    def fingerprint(self):
        return "memory"
