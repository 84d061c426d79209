"""Mean average precision of rows that carry several classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from seit import ranks
from seit.errors import RunError
from seit.evaluation.base import Classify, OfClasses, shares
from seit.loading.rows import Rows


class MeanPrecision(OfClasses):
    """Mean average precision of rows that carry several classes."""

    score = "map"

    def __call__(self, model: Any) -> Iterator[tuple[str, float]]:
        self.details = mean_average_precision(self.classify(model), self.rows, self.classes)
        yield "map", self.details["map"]


def mean_average_precision(classify: Classify, rows: Rows, classes: list[str]) -> dict[str, Any]:
    """Returns how well a classifier ranks the rows of each class above the others, exact.

    A class's average precision is the mean, over its rows in falling order of their logits, of the share of its
    rows among all down to there (no interpolation). Rows of equal logits count as one step.

    Args:
        classify: the classifier, in evaluation mode.
        rows: N rows with labels bool [n, C].
        classes: C names in the order of the logits.

    Returns:
        rows; map, the mean over the classes that have rows; per_class, by name.

    Raises:
        RunError: rows of one class each, or of none at all.
    """
    scores, truth = (np.zeros((len(rows), len(classes)), kind) for kind in (np.float32, np.uint8))
    with torch.no_grad():
        for chosen in shares(rows):
            inputs, labels = rows.batch(chosen)
            if labels is None or labels.dtype != bool:
                raise RunError("the rows carry one class each", cure="ask for their accuracy")
            scores[chosen], truth[chosen] = classify(torch.from_numpy(inputs)).float().cpu().numpy(), labels
    scores, truth = ranks.summed(scores), ranks.summed(truth)
    per_class = {
        name: average_precision(scores[:, c], truth[:, c]) for c, name in enumerate(classes) if truth[:, c].any()
    }
    if not per_class:
        raise RunError("no row carries a class", cure="give labelled rows")
    return {"rows": len(rows), "map": float(np.mean(list(per_class.values()))), "per_class": per_class}


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the average precision of scores [n] for rows that are (1) or are not (0) of a class, [n]."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], truth[order].cumsum(dtype=np.int64)
    ends = np.r_[np.nonzero(np.diff(ranked))[0], len(ranked) - 1]  # the last of each run of equal scores
    hits = right[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / right[-1])
