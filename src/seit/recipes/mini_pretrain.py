"""Stage 1 of the mini chain: ids of 40 classes of tiny-imagenet-50, the twin of `token-in21k`.

    seit tokenize tiny40 tiny40.tokens --tokenizer patch4 --size 64
    seit train tiny40.tokens --out stage1 --recipe mini-pretrain

As the column "Token IN-21k PT" of Table B.1 it crops without resizing and leaves Token-EDA out; trunk, steps
and noise are those of `mini`. Every fifth class by id is for the stages that follow, `tiny10`; `tiny40` are the
others. The whole chain: experiments/mini_stages.sh.
"""

from dataclasses import replace

from seit.augment.cutmix import CutMix
from seit.augment.flip import Flip
from seit.augment.noise import Noise
from seit.augment.random_crop import RandomCrop
from seit.recipes import mini
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini.recipe(), epochs=12, augment=(Flip(0.5), RandomCrop(), CutMix(0.5), Noise(0.5, std=0.1)))
