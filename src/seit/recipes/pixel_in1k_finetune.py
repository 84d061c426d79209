"""ViT-B fine-tuned on the pixels of ImageNet-1k after ids: Table B.1, column "Image IN-1k FT".

    seit train imagenet/ --out RUN --recipe pixel-in1k-finetune --from PT  # two stages: after token-in21k
    seit train imagenet/ --out RUN --recipe pixel-in1k-finetune --from FT  # three: after token-in1k-finetune (B.4)

Paper: 82.6% top-1 in two stages (154 GB), 82.8% in three (156 GB), 81.8% from pixels alone (Table 3). Not run
by us: 100 epochs of ImageNet-1k on GPUs, after the stages before.

Batch 512 is the table's, 1024 section 4.5's, both with learning rate 0.0005: --set batch_size=1024. Stem and,
after token-in21k, head are new; `seit train` names them.
"""

from dataclasses import replace

from seit.augment.erasing import Erasing
from seit.recipes import pixel_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    base = pixel_in1k.recipe()
    augment = tuple(one for one in base.augment if not isinstance(one, Erasing))
    return replace(base, epochs=100, batch_size=512, learning_rate=0.0005, repeats=1, augment=augment)
