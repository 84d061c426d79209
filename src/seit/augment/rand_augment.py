"""RandAugment: two random changes of colour or shape to an image of a pixel run, by timm."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from timm.data.auto_augment import RandAugment as TimmRandAugment
from timm.data.auto_augment import rand_augment_transform

from seit.augment.base import OnImages

_MEAN = (124, 116, 104)
"""ImageNet's mean colour, which fills what a shift leaves empty, as in DeiT."""


@dataclass(frozen=True)
class RandAugment(OnImages):
    """Applies two of timm's operations, "rand-m9-mstd0.5-inc1" by default (Table B.1, RandAug 9 / 0.5; DeiT).

    An image that is loaded with it is cropped from the original file, not from the view, and mirrored before it.

    Args:
        magnitude: how strong the operations are, 0..10.
        std: standard deviation of the magnitude.
    """

    magnitude: float = 9.0
    std: float = 0.5

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Maps an image uint8 [H, W, 3] to one."""
        change = _operations(self.magnitude, self.std, min(image.shape[:2]))
        with _seeded(seed):
            return np.array(change(Image.fromarray(image)))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the two global generators that timm draws from, and puts them back as they were."""
    before, before_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002


@functools.cache
def _operations(magnitude: float, std: float, side: int) -> TimmRandAugment:
    settings = {
        "translate_const": int(side * 0.45),
        "img_mean": _MEAN,
        "magnitude_max": 9.999,  # at 10 timm asks Pillow for pictures of 0 bits, which it refuses
        "interpolation": Image.Resampling.BICUBIC,
    }
    return rand_augment_transform(f"rand-m{magnitude:g}-mstd{std:g}-inc1", settings)
