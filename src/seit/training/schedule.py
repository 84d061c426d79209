"""The learning rate of each step."""

from __future__ import annotations

import math

from seit.training.recipe import Recipe


def learning_rate(step: int, steps: int, warmup: int, recipe: Recipe) -> float:
    """Returns the learning rate of step number `step` of `steps`.

    Linear over `warmup` steps, then the recipe's schedule: a cosine that ends at its final learning rate, or
    constant. The released code steps once an epoch and one epoch late, so it never reaches its peak; this does, at
    the first step after the warm-up.

    Args:
        step: 0..steps-1.
        steps: of the whole run.
        warmup: steps of linear rise.
        recipe: peak, schedule and end.
    """
    peak, final = recipe.learning_rate, recipe.final_learning_rate
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return peak
    share = (step - warmup) / max(1, steps - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * share))
