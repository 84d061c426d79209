"""Token-RRC: a random box of the grid, resized to the model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Crop
from seit.augment.draws import Draws
from seit.augment.resize import crop_resize
from seit.augment.setting import Setting
from seit.errors import RecipeError
from seit.images.views import RATIO, SCALE, TRIES


@dataclass(frozen=True)
class ResizedCrop(Crop):
    """Cuts a random box from each row and resizes it to m x m (paper, section 3.2.1, Token-RRC).

    Args:
        scale: bounds of the box's share of the area.
        ratio: bounds of its width / height.

    Raises:
        RecipeError: bounds out of order or out of range.
    """

    scale: tuple[float, float] = SCALE
    ratio: tuple[float, float] = RATIO

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

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        height, width = inputs.shape[-2:]
        return crop_resize(inputs, table, self.boxes(draws, (height, width)), setting.size)

    def boxes(self, draws: Draws, grid: tuple[int, int]) -> Tensor:
        """Returns each row's box, int64 [B, 4] on the CPU: top, left, height, width."""
        return resized_boxes(draws.on("cpu").uniform(self.name, 2 * TRIES + 2), grid, self.scale, self.ratio)

    def details(self, setting: Setting) -> list[str]:
        """Returns the resize."""
        return [f"bicubic to {setting.size[0]}x{setting.size[1]}"]


def resized_boxes(
    u: Tensor, grid: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Returns random-resized-crop boxes int64 [B, 4]: top, left, height, width (see `images.views.random_box`).

    Args:
        u: uniform numbers [B, 22], on the CPU.
        grid: (h, w).
        scale: bounds of the area's share.
        ratio: bounds of width / height.
    """
    from seit.augment import kernels  # numba: only who trains pays for it

    return torch.from_numpy(kernels.resized_boxes(u.double().numpy(), *grid, scale, ratio))
