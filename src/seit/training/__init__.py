"""The training loop: a `Training` says what, `fit` does it, `setup.assemble` makes the one of a recipe."""

from seit.training.loop import Training, fit
from seit.training.recipe import Recipe

__all__ = ["Recipe", "Training", "fit"]
