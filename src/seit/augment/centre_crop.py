"""Centre crop: what the model sees at evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seit.augment.base import Crop, Given
from seit.augment.draws import Draws
from seit.augment.resize import centre_crop


@dataclass(frozen=True)
class CentreCrop(Crop):
    """The evaluation crop as a training crop: nothing is random."""

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        return centre_crop(inputs, table, given.size, given.view)

    def details(self, given: Given) -> list[str]:
        """Returns region and size."""
        return [f"{given.view[0]}x{given.view[1]} to {given.size[0]}x{given.size[1]}"]
