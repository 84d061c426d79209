"""A small residual trunk on ids, for a laptop.

    seit train TOKENS --out RUN

CutMix, mirrored grids and weak Emb-Noise; no part of the paper, whose recipes want a GPU.
"""

from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return Recipe(trunk="mini_resnet", epochs=8, cutmix=0.25, noise=1.0, noise_std=0.1, flip=0.5)
