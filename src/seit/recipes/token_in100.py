"""ViT-S on the ids of ImageNet-100: Table B.3, which compares tokenizers.

    seit tokenize imagenet100/ in100.tokens && seit train in100.tokens --out RUN --recipe token-in100

Paper, top-1 by tokenizer: ViT-VQGAN 77.3%; VQGAN of 16 pixels a cell and 1024 codes 75.3%, 16384 codes 76.9%;
VQGAN of 8 pixels on OpenImages, Gumbel 8192 codes 79.1%, 256 codes 81.8%. Not run by us: 300 epochs of 127,000
images, a tenth of `token-in1k`, and 0.14 GB of ids.

Tokenizers of 16 pixels a cell give 16 x 16 ids, for which the paper takes a stem of 2 x 2 and stride 1: --set
stem=conv2s1. All else is `token-in1k`'s, whose learning rate ViT-S shares (Table B.1's caption).
"""

from dataclasses import replace

from seit.recipes import token_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(token_in1k.recipe(), trunk="deit_small_patch16_224")
