"""Random erasing: a box of an image of a pixel run becomes noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from seit.augment.base import OnVectors
from seit.augment.draws import Draws
from seit.augment.setting import Setting

TRIES = 10


@dataclass(frozen=True)
class Erasing(OnVectors):
    """Fills a random box of some images with standard normal noise (Table B.1, Erasing prob.; timm's rule).

    The images are normalised, so the noise has the colours of the data.

    The box covers 2 to 33% of the image at a ratio of sides of 0.3 to 3.3; the first of ten draws that fits.

    Args:
        probability: of each image.
    """

    inputs = ("pixels",)
    probability: float = 0.25

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, setting: Setting) -> tuple[Tensor, Tensor]:
        """Erases in normalised images [B, 3, H, W], in place; targets stay."""
        u = draws.on("cpu").uniform(self.name, 3 + 2 * TRIES)
        height, width = vectors.shape[2:]
        for row in (u[:, 0] < self.probability).nonzero()[:, 0].tolist():
            top, left, high, wide = box(u[row, 1:].tolist(), height, width)
            noise = draws.rows(slice(row, row + 1)).normal(self.name + "/values", 3 * high * wide)
            vectors[row, :, top : top + high, left : left + wide] = noise.view(3, high, wide)
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
