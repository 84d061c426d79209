"""Mean average precision beside scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from seit.errors import RunError
from seit.evaluation import mean_average_precision


class Rows:
    """Rows whose inputs are their own logits."""

    grid, views = (1, 1), 1

    def __init__(self, logits, labels):
        self.logits, self.labels = logits.astype(np.float32), labels

    def __len__(self):
        return len(self.logits)

    def batch(self, indices):
        return self.logits[indices], self.labels[indices]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.booleans())
def test_it_is_scikit_learns_class_by_class(seed, n, ties):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, 4)), rng.random((n, 4)) < 0.4
    logits = np.round(logits) if ties else logits
    labels[0, 0] = True
    found = mean_average_precision(lambda x: x, Rows(logits, labels), ["a", "b", "c", "d"])
    wanted = {
        name: average_precision_score(labels[:, c], logits[:, c])
        for c, name in enumerate("abcd")
        if labels[:, c].any()
    }
    assert found["per_class"] == pytest.approx(wanted)
    assert found["map"] == pytest.approx(np.mean(list(wanted.values())))
    assert found["rows"] == n


def test_rows_of_one_class_are_refused():
    with pytest.raises(RunError, match="carry one class each; ask for their accuracy"):
        mean_average_precision(torch.nn.Identity(), Rows(np.zeros((2, 3)), np.array([0, 1])), ["a", "b", "c"])
