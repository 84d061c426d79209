"""ViT-B on the ids of ImageNet-1k: Table B.1, column "Token IN-1k".

    seit tokenize imagenet/ in1k.tokens && seit train in1k.tokens --out RUN --recipe token-in1k

Paper: 74.0% top-1 from 1.36 GB (81.8% from 140 GB of pixels), with the ViT-VQGAN tokenizer and 391 codes. Not
run by us: it takes 300 epochs of ImageNet on GPUs. ViT-S: --set trunk=deit_small_patch16_224.
"""

from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.augment.swap import Swap
from seit.augment.synonym import Synonym
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return Recipe(
        trunk="deit_base_patch16_224",
        stem="conv4",
        drop_path=0.1,
        epochs=300,
        batch_size=1024,
        learning_rate=0.00075 * 1024 / 512,
        weight_decay=0.1,
        warmup_epochs=5,
        final_learning_rate=1e-5,
        augment=(Synonym(0.25), Swap(0.25), ResizedCrop(), CutMix(1.0), Noise(0.5)),
        smoothing=0.1,
    )
