"""ViT-B on the ids of ImageNet-1k with the released code's choices where they depart from the paper's words.

    seit train in1k.tokens --out RUN --recipe token-in1k-released

Paper: 74.0% top-1, and this is the code released with it. Not run by us, as `token-in1k`, which says what it
costs.

From `token-in1k` it differs in four choices, all the released code's:

- a row gets synonyms (0.25), a swap (0.25) or neither, never both: 6% of all ids are replaced, not 25%;
- Emb-Noise goes to exactly half of each batch, drawn at random, not to each row with 0.5;
- it comes before CutMix, so that a pasted box carries its own picture's noise;
- its standard deviation is 1 as it is, not in units of the codebook.

From the released code it differs, as `token-in1k` does, where that slips or leaves things to chance: swapped
squares never overlap and reach the last row and column; every draw is seeded; the learning rate follows each
step from 0 to its peak, not each epoch from 1e-6, one epoch late and never there. CutMix mixes neighbours
instead of a batch with its reverse: the same draw, in any split over ranks. Precision is bfloat16 or float32
instead of float16. The running average of the weights, which the release keeps and never evaluates, and its
cool-down, which never runs, are left out.
"""

from dataclasses import replace

from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.augment.swap import Swap
from seit.augment.synonym import Synonym
from seit.recipes import token_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    augment = (
        Synonym(0.25, rows=(0.0, 0.25)),
        Swap(1.0, rows=(0.25, 0.5)),
        ResizedCrop(),
        Noise(0.5, unit="raw", exact=True),
        CutMix(1.0),
    )
    return replace(token_in1k.recipe(), augment=augment)
