"""Stage 3 of the mini chain: the pixels of those 10 classes, the twin of `pixel-in1k-finetune`.

    seit train tiny10 --out stage3 --recipe mini-pixels-finetune --from stage2

The stem is new: patches of 8 of 56 pixels give the 7 x 7 cells that conv4 gives of 14 x 14 ids. Without
`--from` it is the training from scratch that the chain is compared with.
"""

from dataclasses import replace

from seit.recipes import mini_pixels
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini_pixels.recipe(), stem="patch8", pixel_size=64, learning_rate=1e-3, epochs=10)
