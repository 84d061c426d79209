"""Token augmentations: from ids and labels to a training batch, on the model's device, without one-hot tensors.

    recipe = seit.recipes.load("token-in1k")
    augment = Pipeline(recipe.augment, (32, 32), model.input_grid, 1000, codebook=model.table)
    print(augment)          # synonym(...) -> swap(...) -> resized_crop(...) -> cutmix(...) -> noise(...) -> ...
    draws = Draws(seed, epoch, positions, batch=1024)
    vectors, targets = augment(ids, labels, model.table, draws)     # [B, d, m, m] channels_last, [B, C]

`positions` int64 [B] are the rows' running numbers in the epoch over all ranks; with CutMix rows 2i and 2i + 1 lie
side by side in a batch. A pixel run gives images [B, 3, H, W], table None and no codebook.
Evaluation: `model.prepare(ids)`, which is `resize.centre_crop`.

An augmentation is one file of this folder, found by the file's name: `kinds` lists them.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

from seit.augment.base import Augmentation, Crop, OnIds, OnImages, OnVectors
from seit.augment.draws import Draws
from seit.augment.pipeline import Pipeline
from seit.augment.synonym import synonyms
from seit.errors import RecipeError, nearest_names

__all__ = [
    "Augmentation",
    "Crop",
    "Draws",
    "OnIds",
    "OnImages",
    "OnVectors",
    "Pipeline",
    "kind",
    "kinds",
    "synonyms",
]


def kinds() -> dict[str, type[Augmentation]]:
    """Returns every augmentation's class by name: the frozen dataclass in each file of this folder that has one."""
    found: dict[str, type[Augmentation]] = {}
    for file in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{file.name}")).values():
            if isinstance(value, type) and issubclass(value, Augmentation) and dataclasses.is_dataclass(value):
                found[value.name] = value
    return found


def kind(name: str, where: str) -> type[Augmentation]:
    """Returns the augmentation called `name`.

    Raises:
        RecipeError: there is none of that name (near misses named), which stands at `where`.
    """
    known = kinds()
    if name not in known:
        raise RecipeError(f"there is no augmentation {name!r}", where, nearest_names(name, known))
    return known[name]
