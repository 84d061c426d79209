"""ViT-B on the pixels of ImageNet-1k, the paper's baseline: Table B.1, column "DeiT IN-1k".

    seit train imagenet/ --out RUN --recipe pixel-in1k

Paper: 81.8% top-1 from 140 GB of JPEG files (DeiT). Not run by us: 300 epochs on GPUs. ViT-S, 79.9%: --set
trunk=deit_small_patch16_224.

"Cutmix prob. 1, Mixup prob. 0.8" of the table are DeiT's alphas: each batch gets one of the two, with equal
chance.
"""

from seit.augment.cutmix import CutMix
from seit.augment.erasing import Erasing
from seit.augment.flip import Flip
from seit.augment.rand_augment import RandAugment
from seit.augment.resized_crop import ResizedCrop
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return Recipe(
        input="pixels",
        trunk="deit_base_patch16_224",
        stem="patch16",
        pixel_size=256,
        resize="crop",
        drop_path=0.1,
        epochs=300,
        repeats=3,
        batch_size=1024,
        learning_rate=0.0005 * 1024 / 512,
        weight_decay=0.05,
        warmup_epochs=5,
        final_learning_rate=1e-5,
        augment=(
            ResizedCrop(),
            Flip(0.5),
            RandAugment(magnitude=9, std=0.5),
            Erasing(0.25),
            CutMix(0.5, alpha=1.0, mixup=0.5, mixup_alpha=0.8),
        ),
        smoothing=0.1,
    )
