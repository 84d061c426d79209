"""Random crop: a box of the model's size at a random place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Crop
from seit.augment.draws import Draws
from seit.augment.resize import crop_resize
from seit.augment.setting import Setting


@dataclass(frozen=True)
class RandomCrop(Crop):
    """Cuts m x m cells at a random place, not resized (paper, section 4.5, for the large pre-training)."""

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        height, width = inputs.shape[-2:]
        u = draws.on("cpu").uniform(self.name, 2)
        room = torch.tensor([height - setting.size[0] + 1, width - setting.size[1] + 1])
        sides = torch.tensor(setting.size).expand(len(u), 2)
        # A box of the size that it is resized to: every weight of the bicubic kernel is 0 or 1.
        return crop_resize(inputs, table, torch.cat(((u * room).long(), sides), 1), setting.size)

    def details(self, setting: Setting) -> list[str]:
        """Returns the size."""
        return [f"{setting.size[0]}x{setting.size[1]}"]
