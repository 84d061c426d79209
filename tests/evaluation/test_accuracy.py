"""Accuracy against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, top_k_accuracy_score

from seit.errors import RunError
from seit.evaluation import accuracy
from seit.evaluation.accuracy import commonest


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


def test_the_commonest_confusions_come_first_with_their_counts():
    counts = np.array([[5, 3, 0], [0, 9, 1], [7, 0, 2]])
    found = commonest(counts, ["cat", "dog", "fox"], 2)
    assert found == [
        {"true": "fox", "predicted": "cat", "rows": 7, "of": 9},
        {"true": "cat", "predicted": "dog", "rows": 3, "of": 8},
    ]
    assert commonest(np.diag([4, 4]), ["cat", "dog"]) == []


def test_thousands_of_classes_need_no_matrix():
    rows, scores, names = scored(300, 2500)
    found = accuracy(lambda ids: torch.from_numpy(scores[ids[:, 0, 0].numpy()]), rows, names)
    assert found["top1"] == pytest.approx(accuracy_score(rows.labels, scores.argmax(1)))
    assert sum(found["per_class"].values()) == pytest.approx(
        recall_score(rows.labels, scores.argmax(1), average=None, labels=np.unique(rows.labels)).sum()
    )
    assert "confusion" not in found
