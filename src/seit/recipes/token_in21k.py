"""ViT-B pre-trained on the ids of ImageNet-21k: Table B.1, column "Token IN-21k PT".

    seit tokenize imagenet21k/ in21k.tokens && seit train in21k.tokens --out PT --recipe token-in21k

Paper: the first stage of 81.1% (then `token-in1k-finetune`), 82.6% (then `pixel-in1k-finetune`) and 82.8%
(both, one after the other), all top-1 on ImageNet-1k; Table 3. Storage: about 14 GB of ids beside 1.4 GB for
ImageNet-1k. Not run by us: 270 epochs of about 14 million images; extracting the ids alone took 1.1 hours of 64
A100s (section 4.5).

A simple random crop and no Token-EDA, after DeiT-III (section 4.5). The column's learning rate is meant as it
is, not per 512 rows.
"""

from dataclasses import replace

from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.random_crop import RandomCrop
from seit.recipes import token_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(
        token_in1k.recipe(),
        epochs=270,
        batch_size=2048,
        learning_rate=0.0015,
        weight_decay=0.02,
        augment=(RandomCrop(), CutMix(1.0), Noise(0.5)),
    )
