"""Top-1 and top-5 accuracy, per class, exact: every row once, none padded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seit.errors import RunError
from seit.loading.rows import Rows
from seit.progress import progress

_CELLS = 1 << 20

Classify = Callable[[Tensor], Tensor]
"""Maps a batch of a rows object (ids [B, h, w], or pixels [B, 3, H, W]) to logits [B, C]."""


def accuracy(classify: Classify, rows: Rows, classes: list[str], silent: bool = False) -> dict[str, Any]:
    """Returns a classifier's accuracy on labelled rows.

    Args:
        classify: the classifier, in evaluation mode.
        rows: labelled rows; their labels count in `classes`.
        classes: C names in the order of the logits.
        silent: show no progress.

    Returns:
        rows; top1 and top5 (shares of 1; top5 only above 5 classes); per_class, each class's top-1 by name
        (classes without rows are left out); confusion [C][C], rows by true and predicted class.

    Raises:
        RunError: rows without a label, or with several.
    """
    counts, top5 = np.zeros((len(classes), len(classes)), int), 0
    step = max(1, min(512, _CELLS // (rows.grid[0] * rows.grid[1])))
    with torch.inference_mode(), progress(len(rows), "evaluate", "images", silent=silent) as bar:
        for start in range(0, len(rows), step):
            inputs, labels = rows.batch(np.arange(start, min(start + step, len(rows))))
            if labels is None or labels.ndim != 1 or (labels < 0).any():
                raise RunError("not every row has one class to compare with", cure="give images in class folders")
            ranked = classify(torch.from_numpy(inputs)).topk(min(5, len(classes))).indices.cpu().numpy()
            np.add.at(counts, (labels, ranked[:, 0]), 1)
            top5 += int((ranked == labels[:, None]).any(1).sum())
            bar.update(len(labels))
    total = int(counts.sum())
    right, seen = counts.diagonal(), counts.sum(1)
    result: dict[str, Any] = {"rows": total, "top1": float(right.sum() / total)}
    if len(classes) > 5:
        result["top5"] = top5 / total
    result["per_class"] = {classes[c]: float(right[c] / seen[c]) for c in range(len(classes)) if seen[c]}
    result["confusion"] = counts.tolist()
    return result
