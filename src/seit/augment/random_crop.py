"""Random crop: a box of the model's size at a random place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import Crop, Given
from seit.augment.draws import Draws
from seit.augment.resize import lookup


@dataclass(frozen=True)
class RandomCrop(Crop):
    """Cuts m x m cells at a random place, not resized (paper, section 4.5, for the large pre-training)."""

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        vectors = lookup(inputs, table)  # [B, h, w, d]
        batch, height, width, _ = vectors.shape
        if given.size == (height, width):
            return vectors.movedim(-1, 1)
        u = draws.uniform(self.name, 2)
        room = torch.tensor([height - given.size[0] + 1, width - given.size[1] + 1], device=u.device)
        top, left = (u * room).long().unbind(1)
        rows = top[:, None] + torch.arange(given.size[0], device=u.device)  # [B, m]
        columns = left[:, None] + torch.arange(given.size[1], device=u.device)
        one = torch.arange(batch, device=u.device)[:, None, None]
        return vectors[one, rows[:, :, None], columns[:, None]].movedim(-1, 1)

    def details(self, given: Given) -> list[str]:
        """Returns the size."""
        return [f"{given.size[0]}x{given.size[1]}"]
