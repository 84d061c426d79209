"""The training loop: `Recipe` says what, `loop.fit` does it, for ids and for pixels alike."""

from seit.training.loop import fit
from seit.training.recipe import Recipe

__all__ = ["Recipe", "fit"]
