"""Random crop: a box of the model's size at a random place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Crop, Given
from seit.augment.draws import Draws
from seit.augment.resize import crop_resize


@dataclass(frozen=True)
class RandomCrop(Crop):
    """Cuts m x m cells at a random place, not resized (paper, section 4.5, for the large pre-training)."""

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        height, width = inputs.shape[-2:]
        u = draws.on("cpu").uniform(self.name, 2)
        room = torch.tensor([height - given.size[0] + 1, width - given.size[1] + 1])
        sides = torch.tensor(given.size).expand(len(u), 2)
        # A box of the size that it is resized to: every weight of the bicubic kernel is 0 or 1.
        return crop_resize(inputs, table, torch.cat(((u * room).long(), sides), 1), given.size)

    def details(self, given: Given) -> list[str]:
        """Returns the size."""
        return [f"{given.size[0]}x{given.size[1]}"]
