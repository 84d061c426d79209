"""Checkpoints take their share of the time and no more, whatever one costs."""

import itertools

import pytest
from toys import RECIPE, Toy, run_in, training_of

from seit import checkpoint
from seit.training import state


@pytest.mark.parametrize(("cost", "seconds"), [(5.0, 20_000), (0.01, 600), (60.0, 50_000)])
def test_checkpoints_take_two_percent_and_are_half_a_minute_apart(cost, seconds, tmp_path, monkeypatch):
    now, saved = [1000.0], []

    def save(*_):
        now[0] += cost
        saved.append(now[0])

    monkeypatch.setattr(state.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "save", save)
    one = state.State(training_of(Toy(16), RECIPE).model, RECIPE, run_in(tmp_path))
    while now[0] < 1000 + seconds:
        now[0] += 0.5  # a step
        if one.due():
            one.save()
    spent = cost * len(saved) / (now[0] - 1000)
    assert spent <= 0.021
    apart = [second - first for first, second in itertools.pairwise(saved)]
    assert min(apart) >= max(30, 49 * cost)
    assert max(apart) <= max(30, 49 * cost) + cost + 1  # and not rarer than that
