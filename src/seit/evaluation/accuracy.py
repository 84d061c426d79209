"""Top-1 and top-5 accuracy, per class, exact: every row once, none padded, on any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from seit import ranks
from seit.errors import RunError
from seit.evaluation.base import Classify, OfClasses, shares
from seit.loading.rows import Rows
from seit.progress import progress

_MOST_CLASSES = 2000
"""Beyond it the confusion matrix of ImageNet-21k would take gigabytes."""


class Accuracy(OfClasses):
    """Top-1, and above 5 classes top-5."""

    score = "top1"

    def __call__(self, model: Any) -> Iterator[tuple[str, float]]:
        self.details = accuracy(self.classify(model), self.rows, self.classes, silent=True)
        for name in ("top1", "top5"):
            if name in self.details:
                yield name, self.details[name]


def accuracy(classify: Classify, rows: Rows, classes: list[str], silent: bool = False) -> dict[str, Any]:
    """Returns a classifier's accuracy on labelled rows.

    Of several processes each takes its share of the rows, and all return the whole.

    Args:
        classify: the classifier, in evaluation mode; one that needs gradients (an attack) enables them itself.
        rows: labelled rows; their labels count in `classes`. Of soft labels the largest is compared with.
        classes: C names in the order of the logits.
        silent: show no progress.

    Returns:
        rows; top1 and top5 (shares of 1; top5 only above 5 classes); per_class, each class's top-1 by name
        (classes without rows are left out); up to 2000 classes also confusion [C][C], rows by true and predicted
        class, and confusions, its commonest mistakes (see `commonest`).

    Raises:
        RunError: rows without a label, or with several.
    """
    few = len(classes) <= _MOST_CLASSES
    counts = np.zeros((len(classes), len(classes)) if few else 0, int)
    seen, right, top5 = np.zeros(len(classes), int), np.zeros(len(classes), int), 0
    total = len(range(ranks.rank(), len(rows), ranks.count()))
    with torch.no_grad(), progress(total, "evaluate", "images", silent=silent) as bar:
        for chosen in shares(rows):
            inputs, labels = rows.batch(chosen)
            if labels is not None and labels.dtype == np.float32:
                labels = labels.argmax(1)
            if labels is None or labels.ndim != 1 or (labels < 0).any():
                raise RunError("not every row has one class to compare with", cure="give images in class folders")
            ranked = classify(torch.from_numpy(inputs)).topk(min(5, len(classes))).indices.cpu().numpy()
            if few:
                np.add.at(counts, (labels, ranked[:, 0]), 1)
            np.add.at(seen, labels, 1)
            np.add.at(right, labels, ranked[:, 0] == labels)
            top5 += int((ranked == labels[:, None]).any(1).sum())
            bar.update(len(labels))
    counts, seen, right = map(ranks.summed, (counts, seen, right))
    total, top5 = int(seen.sum()), int(ranks.summed(np.array(top5)))
    result: dict[str, Any] = {"rows": total, "top1": float(right.sum() / total)}
    if len(classes) > 5:
        result["top5"] = top5 / total
    result["per_class"] = {classes[c]: float(right[c] / seen[c]) for c in range(len(classes)) if seen[c]}
    if few:
        result |= {"confusion": counts.tolist(), "confusions": commonest(counts, classes)}
    return result


def commonest(counts: np.ndarray, classes: list[str], most: int = 10) -> list[dict[str, Any]]:
    """Returns the commonest mistakes of a confusion matrix, at most `most`.

    Args:
        counts: int [C, C], rows by true and predicted class.
        classes: C names.
        most: how many to return.

    Returns:
        true and predicted class, rows (mistaken so) and of (rows of the true class); the commonest first.
    """
    off = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    worst = np.argsort(-off, axis=None, kind="stable")[:most]
    return [
        {
            "true": classes[true],
            "predicted": classes[predicted],
            "rows": int(off[true, predicted]),
            "of": int(counts[true].sum()),
        }
        for true, predicted in zip(*np.unravel_index(worst, off.shape), strict=True)
        if off[true, predicted]
    ]
