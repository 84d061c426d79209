"""The learning rate against the formula written plainly, and what a plan makes of epochs."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Toy

from seit.loading import RowFeed
from seit.training import Recipe
from seit.training.schedule import Plan


def naive(step, steps, warmup, peak, final):
    """Steps up in equal parts, the peak, then half a cosine, as a list."""
    up = [peak * i / (warmup + 1) for i in range(1, warmup + 1)]
    down = steps - warmup
    after = [final + (peak - final) * (1 + math.cos(math.pi * i / down)) / 2 for i in range(down)]
    return (up + after)[step]


@settings(deadline=None)
@given(st.integers(1, 200), st.floats(0, 0.99), st.floats(1e-6, 1), st.floats(0, 1))
def test_learning_rate_is_a_line_and_then_half_a_cosine(steps, share, peak, final):
    warmup, final = int(share * steps), final * peak
    for step in range(steps):
        wanted = naive(step, steps, warmup, peak, final)
        assert Plan(1, steps, warmup, peak, final).learning_rate(step) == pytest.approx(wanted, rel=1e-12)


def test_learning_rate_reaches_its_peak_once_and_nears_its_end():
    recipe = Recipe(learning_rate=1e-3, final_learning_rate=1e-5, epochs=10, warmup_epochs=1)
    plan = Plan.of(recipe, 8, 100)
    rates = [plan.learning_rate(step) for step in range(plan.steps)]
    assert max(rates) == rates[100] == 1e-3
    assert rates[0] > 0
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert 1e-5 < rates[-1] < 1.01e-5


def test_a_constant_learning_rate_stays_at_its_peak_after_the_warm_up():
    plan = Plan.of(Recipe(learning_rate=1e-5, schedule="constant", epochs=12.5, warmup_epochs=1), 8, 4)
    rates = [plan.learning_rate(step) for step in range(plan.steps)]
    assert rates[:5] == pytest.approx([2e-6, 4e-6, 6e-6, 8e-6, 1e-5])
    assert set(rates[4:]) == {1e-5}


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs", "wanted"),
    [
        (60, 20, 8, (20, 3, 24, 2)),
        (65, 20, 8, (20, 3, 24, 2)),  # five rows of each epoch are left out
        (7, 128, 2, (7, 1, 2, 0)),  # fewer rows than a batch: all of them
        (1000, 10, 0.55, (10, 100, 55, 50)),
        (5, 5, 0.6, (5, 1, 1, 0)),
    ],
)
def test_a_plan_counts_whole_batches(rows, batch_size, epochs, wanted):
    feed = RowFeed(Toy(rows), batch_size, seed=0)
    plan = Plan.of(Recipe(batch_size=batch_size, epochs=epochs), feed.batch_size, feed.epoch_steps)
    assert (feed.batch_size, plan.epoch_steps, plan.steps, plan.warmup) == wanted


def test_the_peak_is_in_proportion_to_the_batch_where_the_recipe_says_for_which_it_is():
    recipe = Recipe(learning_rate=5e-4, learning_rate_batch=512, batch_size=1024, final_learning_rate=1e-5)
    assert Plan.of(recipe, 1024, 10).peak == 1e-3  # Table B.1, DeiT: .0005 x 1024 / 512
    assert Plan.of(recipe, 256, 10).peak == 2.5e-4
    assert Plan.of(recipe, 256, 10).final == 1e-5
    tiny = Plan.of(recipe, 2, 10)  # a data set of two rows: the end does not rise above the peak
    assert tiny.final == tiny.peak == 5e-4 / 256
    assert Plan.of(Recipe(learning_rate=5e-4), 7, 10).peak == 5e-4
