"""How many steps a training has, and the learning rate of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seit.training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What a recipe means for what it is fed with.

    Attributes:
        epoch_steps: steps of an epoch.
        steps: of the whole run.
        warmup: of them, of linear rise.
        peak: highest learning rate.
        final: where a cosine ends.
    """

    epoch_steps: int
    steps: int
    warmup: int
    peak: float
    final: float

    @classmethod
    def of(cls, recipe: Recipe, batch_size: int, epoch_steps: int) -> Plan:
        """Works out the plan for epochs of so many steps, each of so many rows over all processes."""
        peak = recipe.peak(batch_size)
        return cls(
            epoch_steps,
            max(1, round(recipe.epochs * epoch_steps)),
            round(recipe.warmup_epochs * epoch_steps),
            peak,
            peak if recipe.schedule == "constant" else min(peak, recipe.final_learning_rate),
        )

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of step number 0..steps-1.

        Linear over the warm-up, then half a cosine from the peak to the end, which is the peak where the recipe's
        rate is constant. The released code steps once an epoch and one epoch late, so it never reaches its peak;
        this does, at the first step after the warm-up.
        """
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.final + 0.5 * (self.peak - self.final) * (1 + math.cos(math.pi * share))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or the run, is over when so many steps are made."""
        return step > 0 and (step % self.epoch_steps == 0 or step == self.steps)
