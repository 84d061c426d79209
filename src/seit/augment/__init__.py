"""Token augmentations: from ids and labels to a training batch, on the model's device, without one-hot tensors.

    recipe = seit.recipes.load("token-in1k")
    augment = Pipeline(recipe.augment, (32, 32), model.input_grid, 1000, codebook=model.table)
    print(augment)          # synonym(...) -> swap(...) -> resized_crop(...) -> cutmix(...) -> noise(...) -> ...
    draws = Draws(seed, epoch, positions, batch=1024)
    vectors, targets = augment(ids, labels, model.table, draws)     # [B, d, m, m] channels_last, [B, C]

`positions` int64 [B] are the rows' running numbers in the epoch over all ranks; with CutMix rows 2i and 2i + 1 lie
side by side in a batch. A pixel run gives uint8 pixels [B, 3, H, W], `normalise=model.normalise` and no codebook.
Evaluation: `model.prepare(ids)`, which is `resize.centre_crop`.

An augmentation is one file of this folder, found by the file's name, or a class that another package declares under
the entry point group `seit.augmentations`: `kinds` lists them.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import pkgutil

from seit.augment.base import Augmentation, Crop, Lookup, OnIds, OnImages, OnVectors
from seit.augment.draws import Draws
from seit.augment.normalise import Normalise
from seit.augment.pipeline import Pipeline
from seit.augment.setting import Setting, synonyms
from seit.errors import RecipeError, nearest_names

__all__ = [
    "Augmentation",
    "Crop",
    "Draws",
    "Lookup",
    "Normalise",
    "OnIds",
    "OnImages",
    "OnVectors",
    "Pipeline",
    "Setting",
    "kind",
    "kinds",
    "synonyms",
]

GROUP = "seit.augmentations"


def kinds() -> dict[str, type[Augmentation]]:
    """Returns every augmentation's class by name: those of this folder's files, then other packages'.

    Raises:
        RecipeError: another package's entry point is not an augmentation of its own name.
    """
    known: dict[str, type[Augmentation]] = {}
    for file in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{file.name}")).values():
            if isinstance(value, type) and issubclass(value, Augmentation) and dataclasses.is_dataclass(value):
                known[value.name] = value
    for entry in importlib.metadata.entry_points(group=GROUP):
        value = entry.load()
        fits = isinstance(value, type) and issubclass(value, Augmentation) and dataclasses.is_dataclass(value)
        if not fits or value.name != entry.name or entry.name in known:
            raise RecipeError(
                f"the entry point {entry.name!r} of {GROUP} is not an augmentation of that name",
                entry.value,
                "name a frozen dataclass of a file of that name, which seit itself does not have",
            )
        known[entry.name] = value
    return known


def kind(name: str, where: str) -> type[Augmentation]:
    """Returns the augmentation called `name`.

    Raises:
        RecipeError: there is none of that name (near misses named), which stands at `where`.
    """
    known = kinds()
    if name not in known:
        raise RecipeError(f"there is no augmentation {name!r}", where, nearest_names(name, known))
    return known[name]
