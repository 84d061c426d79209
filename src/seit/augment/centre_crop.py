"""Centre crop: what the model sees at evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seit.augment.base import Crop
from seit.augment.draws import Draws
from seit.augment.resize import centre_crop
from seit.augment.setting import Setting


@dataclass(frozen=True)
class CentreCrop(Crop):
    """The evaluation crop as a training crop: nothing is random."""

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        return centre_crop(inputs, table, setting.size, setting.view)

    def details(self, setting: Setting) -> list[str]:
        """Returns region and size."""
        return [f"{setting.view[0]}x{setting.view[1]} to {setting.size[0]}x{setting.size[1]}"]
