"""The learning rate of each step."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, warmup: int, peak: float, final: float) -> float:
    """Returns the learning rate of step number `step` of `steps`.

    Linear over `warmup` steps, then a cosine that ends at `final`. The released code steps once an epoch and one
    epoch late, so it never reaches its peak; this does, at the first step after the warm-up.

    Args:
        step: 0..steps-1.
        steps: of the whole run.
        warmup: steps of linear rise.
        peak: reached at step `warmup`.
        final: approached at the last step.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * share))
