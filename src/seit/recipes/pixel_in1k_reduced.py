"""ViT-B on a part of ImageNet-1k's pixels, the paper's rivals: Tables 2 and B.5.

    seit train sampled40/ --out RUN --recipe pixel-in1k-reduced

Paper, top-1 by uniform random sampling: 78.2% from 70% of the images (95.7 GB), 74.0% from 40% (54.6 GB), 59.8%
from 20% (27.2 GB). Not run by us; each costs what `pixel-in1k` costs.

Section 4.5: learning rate 0.0009, and more warm-up epochs and steps than the fewer images would give. The paper
says not how many; here the steps are those of the whole set, and so is the warm-up's share of them. The values
are for 40%; for a share s: --set epochs=300/s --set warmup_epochs=5/s, worked out. Sets of smaller or poorer
JPEGs hold all images: --set epochs=300 --set warmup_epochs=5.
"""

from dataclasses import replace

from seit.recipes import pixel_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return replace(pixel_in1k.recipe(), learning_rate=0.0009, epochs=300 / 0.4, warmup_epochs=5 / 0.4)
