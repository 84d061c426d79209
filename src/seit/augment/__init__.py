"""Token augmentations: from ids and labels to a training batch, on the model's device, without one-hot tensors.

    augment = pipeline((32, 32), model.input_grid, classes=1000, codebook=codebook)      # token-in1k of the paper
    print(augment)          # synonym(p=0.25) -> swap(p=0.25) -> rrc(...) -> cutmix(...) -> noise(...) -> ...
    draws = Draws(seed, epoch, positions, batch=1024)
    vectors, targets = augment(ids, labels, model.table, draws)     # [B, d, m, m] channels_last, [B, C]

`positions` int64 [B] are the rows' running numbers in the epoch over all ranks; with CutMix rows 2i and 2i + 1 lie
side by side in a batch. A pixel run gives images [B, 3, H, W], table None and codebook None.
Evaluation: `centre_crop(ids, model.table, model.input_grid, model.view_grid)`, which is `model.prepare(ids)`.
"""

from seit.augment.base import Crop, OnIds, OnVectors, Pipeline
from seit.augment.crop import centre_crop
from seit.augment.draws import Draws
from seit.augment.recipe import pipeline
from seit.augment.synonym import synonyms

__all__ = ["Crop", "Draws", "OnIds", "OnVectors", "Pipeline", "centre_crop", "pipeline", "synonyms"]
