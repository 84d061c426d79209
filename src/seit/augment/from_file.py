"""Augmentations of a pixel run that want the whole picture: done while it is loaded, with the row's own draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from seit.augment.base import Augmentation, Crop, OnImages
from seit.augment.draws import Draws
from seit.augment.flip import Flip
from seit.augment.resized_crop import ResizedCrop
from seit.augment.setting import Setting
from seit.errors import RecipeError

_LARGEST = (1 << 63) - 1
"""A seed: not negative."""


@dataclass(frozen=True)
class FromFile:
    """Crops a decoded picture at random, mirrors it and changes it, as DeiT's and timm's training does.

    Args:
        crop: bounds of the box.
        flip: whether and how often to mirror.
        on_images: what comes after.
        size: (m, m) of the model's input.
    """

    crop: ResizedCrop
    flip: Flip
    on_images: tuple[OnImages, ...]
    size: tuple[int, int]

    def __call__(self, picture: Image.Image, seed: int, epoch: int, position: int) -> np.ndarray:
        """Maps a picture of mode RGB to a view uint8 [m, m, 3]; the numbers name the row's `Draws`."""
        draws = Draws(seed, epoch, torch.tensor([position]), 1)
        boxes = self.crop.boxes(draws, (picture.height, picture.width))
        top, left, height, width = boxes[0].tolist()
        view = picture.crop((left, top, left + width, top + height))
        view = view.resize(self.size[::-1], Image.Resampling.BICUBIC)  # antialiased
        if draws.uniform(self.flip.name, 1).item() < self.flip.probability:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = np.array(view)
        for change in self.on_images:
            image = change(image, int(draws.bits(change.name, 1)) & _LARGEST)
        return image

    def __str__(self) -> str:
        setting = Setting(self.size, self.size, self.size)
        steps: list[Augmentation] = [self.crop, self.flip, *self.on_images]
        return " -> ".join(step.text(setting) for step in steps if not step.off)


def from_file(
    augment: Sequence[Augmentation], size: tuple[int, int]
) -> tuple[FromFile | None, tuple[Augmentation, ...]]:
    """Splits a pixel recipe's augmentations into those done while loading and those done on batches.

    Returns:
        What loads a picture, or None if no augmentation wants the whole one; and the rest.

    Raises:
        RecipeError: one does, and the recipe's crop is not `resized_crop`.
    """
    on_images = tuple(step for step in augment if isinstance(step, OnImages) and not step.off)
    if not on_images:
        return None, tuple(augment)
    crops = [step for step in augment if isinstance(step, Crop)]
    if len(crops) != 1 or not isinstance(crops[0], ResizedCrop):
        raise RecipeError(
            "works on views cut from the whole picture", on_images[0].name, "add resized_crop to augment"
        )
    flip = next((step for step in augment if isinstance(step, Flip)), Flip(0.0))
    rest = tuple(step for step in augment if not isinstance(step, OnImages | Crop | Flip))
    return FromFile(crops[0], flip, on_images, size), rest
