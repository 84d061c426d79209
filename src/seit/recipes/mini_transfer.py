"""Transfer of stage 1 of the mini chain to CIFAR-10's ids, the twin of `token-transfer`.

    python scripts/cifar10.py CIFAR cifar10
    seit tokenize cifar10 cifar10.tokens --tokenizer patch4 --size 64
    seit train cifar10.tokens --out transfer --recipe mini-transfer --from stage1

Enlarged to 64 pixels, so that the ids have the grid of stage 1 and its stem fits.
"""

from dataclasses import replace

from seit.recipes import mini_pretrain
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini_pretrain.recipe(), learning_rate=1e-3, epochs=4)
