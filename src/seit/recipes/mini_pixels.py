"""The pixel twin of `mini`: the same trunk and steps on the images themselves.

seit train IMAGES --out RUN --recipe mini-pixels
"""

from dataclasses import replace

from seit.recipes import mini
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini.recipe(), input="pixels", noise=0.0)
