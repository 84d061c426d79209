"""A small residual trunk on ids, for a laptop.

    seit train TOKENS --out RUN

CutMix, mirrored grids and weak Emb-Noise; no part of the paper, whose recipes want a GPU.
"""

from seit.augment.cutmix import CutMix
from seit.augment.flip import Flip
from seit.augment.noise import Noise
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return Recipe(trunk="mini_resnet", epochs=8, augment=(Flip(0.5), CutMix(0.25), Noise(1.0, std=0.1)))
