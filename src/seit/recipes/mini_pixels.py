"""The pixel twin of `mini`: the same trunk and steps on the images themselves, which take no Emb-Noise.

seit train IMAGES --out RUN --recipe mini-pixels
"""

from dataclasses import replace

from seit.augment.cutmix import CutMix
from seit.augment.flip import Flip
from seit.recipes import mini
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini.recipe(), input="pixels", augment=(Flip(0.5), CutMix(0.25)))
