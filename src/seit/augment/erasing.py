"""Random erasing: a box of an image of a pixel run becomes noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Given, OnVectors
from seit.augment.draws import Draws

TRIES = 10
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1]."""


@dataclass(frozen=True)
class Erasing(OnVectors):
    """Fills a random box of some images with noise of ImageNet's colours (Table B.1, Erasing prob.; timm's rule).

    The box covers 2 to 33% of the image at a ratio of sides of 0.3 to 3.3; the first of ten draws that fits.

    Args:
        probability: of each image.
    """

    inputs = ("pixels",)
    probability: float = 0.25

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, given: Given) -> tuple[Tensor, Tensor]:
        """Erases in images [B, 3, H, W] in [-1, 1], in place; targets stay."""
        u = draws.on("cpu").uniform(self.name, 3 + 2 * TRIES)
        height, width = vectors.shape[2:]
        mean, std = (torch.tensor(of, device=vectors.device)[:, None] for of in (_MEAN, _STD))
        for row in (u[:, 0] < self.probability).nonzero()[:, 0].tolist():
            top, left, high, wide = box(u[row, 1:].tolist(), height, width)
            noise = draws.rows(slice(row, row + 1)).normal(self.name + "/values", 3 * high * wide)
            colours = 2 * (mean + std * noise.view(3, -1)) - 1
            vectors[row, :, top : top + high, left : left + wide] = colours.view(3, high, wide)
        return vectors, targets


def box(u: list[float], height: int, width: int) -> tuple[int, int, int, int]:
    """Returns the box (top, left, height, width) that uniform numbers [2 + 2 tries] draw; empty if none fits."""
    for area, ratio in zip(u[2::2], u[3::2], strict=True):
        covered = height * width * (0.02 + (1 / 3 - 0.02) * area)
        aspect = math.exp(math.log(0.3) * (1 - 2 * ratio))
        high, wide = round(math.sqrt(covered * aspect)), round(math.sqrt(covered / aspect))
        if high < height and wide < width:
            return int(u[0] * (height - high + 1)), int(u[1] * (width - wide + 1)), high, wide
    return 0, 0, 0, 0
