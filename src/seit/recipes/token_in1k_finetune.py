"""ViT-B fine-tuned on the ids of ImageNet-1k after `token-in21k`: Table B.1, column "Token IN-1k FT".

    seit train in1k.tokens --out FT --recipe token-in1k-finetune --from PT

Paper: 81.1% top-1 from 16 GB of ids (Table 3). Not run by us: 100 epochs of ImageNet-1k on GPUs, after the 270
of ImageNet-21k.

The column has no decay of the learning rate and the batch of 4096; simple random crop and no Token-EDA as in
the pre-training (section 4.5).
"""

from dataclasses import replace

from seit.recipes import token_in21k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(
        token_in21k.recipe(),
        drop_path=0.15,
        epochs=100,
        batch_size=4096,
        learning_rate=0.00001,
        schedule="constant",
        final_learning_rate=0.0,
        weight_decay=0.1,
    )
