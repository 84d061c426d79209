"""Stage 2 of the mini chain: ids of the other 10 classes, the twin of `token-in1k-finetune`.

    seit tokenize tiny10 tiny10.tokens --tokenizer patch4 --size 64
    seit train tiny10.tokens --out stage2 --recipe mini-finetune --from stage1

As the column "Token IN-1k FT" of Table B.1 it keeps a low learning rate constant; so small a trunk wants a
higher one than ViT-B's 0.00001.
"""

from dataclasses import replace

from seit.recipes import mini_pretrain
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(mini_pretrain.recipe(), learning_rate=5e-4, schedule="constant", warmup_epochs=0.5, epochs=10)
