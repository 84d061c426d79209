"""The scale of pixels that a network sees: their mean and deviation, the same for training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Colours = tuple[float, float, float]

NORMALISATIONS: dict[str, tuple[Colours, Colours]] = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""By name, (mean, deviation) of pixels in [0, 1]: to [-1, 1], and as DeiT and the ResNets are trained."""


@dataclass(frozen=True)
class Normalise:
    """Maps pixels to the scale of a network.

    Args:
        mean: of pixels in [0, 1], red, green and blue.
        std: their deviation.
    """

    mean: Colours
    std: Colours

    def __call__(self, images: Tensor) -> Tensor:
        """Maps images [B, 3, H, W], uint8 or floats in [0, 1], to float32 of that shape."""
        largest = 1.0 if images.is_floating_point() else 255.0
        mean, std = (torch.tensor(of, device=images.device).view(3, 1, 1) * largest for of in (self.mean, self.std))
        return (images.float() - mean) / std
