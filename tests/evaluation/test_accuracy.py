"""Accuracy against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, top_k_accuracy_score

from seit.errors import RunError
from seit.evaluation import accuracy


class Scored:
    """Rows whose ids are their own row numbers, so that a table of scores can be the classifier."""

    views, grid = 1, (1, 1)

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def batch(self, indices):
        return np.asarray(indices)[:, None, None], self.labels[indices]


def scored(n, classes, seed=0):
    """Returns rows, their scores [n, classes] and names; better than chance, and no two scores alike."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    scores = rng.normal(size=(n, classes)).astype(np.float32)
    scores[np.arange(n), labels] += 1
    return Scored(labels), scores, [f"class {c}" for c in range(classes)]


@pytest.mark.parametrize(("n", "classes"), [(1300, 12), (512, 6), (40, 3), (1, 2)])
def test_accuracy_equals_scikit_learns(n, classes):
    rows, scores, names = scored(n, classes)
    found = accuracy(lambda ids: torch.from_numpy(scores[ids[:, 0, 0].numpy()]), rows, names)
    guesses, every = scores.argmax(1), list(range(classes))
    assert found["rows"] == n
    assert found["top1"] == pytest.approx(accuracy_score(rows.labels, guesses))
    assert found["confusion"] == confusion_matrix(rows.labels, guesses, labels=every).tolist()
    if classes > 5:
        wanted = top_k_accuracy_score(rows.labels, scores, k=5, labels=every)
        assert found["top5"] == pytest.approx(wanted)
    else:
        assert "top5" not in found
    recall = recall_score(rows.labels, guesses, labels=every, average=None, zero_division=np.nan)
    wanted = {name: share for name, share in zip(names, recall, strict=True) if not np.isnan(share)}
    assert found["per_class"] == pytest.approx(wanted)


def test_classes_without_rows_are_left_out():
    rows, scores, names = scored(50, 8)
    rows.labels[rows.labels == 3] = 4
    found = accuracy(lambda ids: torch.from_numpy(scores[ids[:, 0, 0].numpy()]), rows, names)
    assert "class 3" not in found["per_class"]
    assert sum(map(sum, found["confusion"])) == 50


@pytest.mark.parametrize("labels", [np.array([0, -1, 1]), np.ones((3, 2), bool)], ids=["unknown", "several"])
def test_rows_without_one_class_are_refused(labels):
    with pytest.raises(RunError, match="not every row has one class"):
        accuracy(lambda ids: torch.zeros(len(ids), 2), Scored(labels), ["a", "b"])
