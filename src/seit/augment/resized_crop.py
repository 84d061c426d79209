"""Token-RRC: a random box of the grid, resized to the model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Crop, Given
from seit.augment.draws import Draws
from seit.augment.resize import crop_resize
from seit.errors import RecipeError

TRIES = 10


@dataclass(frozen=True)
class ResizedCrop(Crop):
    """Cuts a random box from each row and resizes it to m x m (paper, section 3.2.1, Token-RRC).

    Args:
        scale: bounds of the box's share of the area.
        ratio: bounds of its width / height.

    Raises:
        RecipeError: bounds that are no bounds.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise RecipeError(
                f"a scale of {low} to {high}", f"{self.name}.scale", "choose bounds in (0, 1], lower first"
            )
        low, high = self.ratio
        if not 0 < low <= high < math.inf:
            raise RecipeError(
                f"a ratio of {low} to {high}", f"{self.name}.ratio", "choose bounds above 0, lower first"
            )

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        height, width = inputs.shape[-2:]
        return crop_resize(inputs, table, self.boxes(draws, (height, width)), given.size)

    def boxes(self, draws: Draws, grid: tuple[int, int]) -> Tensor:
        """Returns each row's box, int64 [B, 4] on the CPU: top, left, height, width."""
        return resized_boxes(draws.on("cpu").uniform(self.name, 2 * TRIES + 2), grid, self.scale, self.ratio)

    def details(self, given: Given) -> list[str]:
        """Returns the resize."""
        return [f"bicubic to {given.size[0]}x{given.size[1]}"]


def resized_boxes(
    u: Tensor, grid: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Returns random-resized-crop boxes int64 [B, 4]: top, left, height, width.

    The rule is torchvision's: an area uniform in `scale`, a ratio log-uniform in `ratio`, the first of ten tries
    that fits the grid; otherwise the largest centred box of an allowed ratio.

    Args:
        u: uniform numbers [B, 22], on the CPU.
        grid: (h, w).
        scale: bounds of the area's share.
        ratio: bounds of width / height.
    """
    from seit.augment import kernels  # numba: only who trains pays for it

    return torch.from_numpy(kernels.resized_boxes(u.double().numpy(), *grid, scale, ratio, TRIES))
