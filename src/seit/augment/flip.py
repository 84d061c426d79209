"""Mirror: left and right change places, and every id becomes that of the mirrored patch."""

from __future__ import annotations

import torch
from torch import Tensor

from seit.augment.base import OnIds, check_probability
from seit.augment.draws import Draws


class Flip(OnIds):
    """Mirrors rows with probability p; not in the paper.

    Args:
        p: probability of each row.
        table: int64 [K], the id of each code's mirrored patch, fitted on pictures; None for images, which are
            mirrored as they are.

    Raises:
        RecipeError: p is no probability.
    """

    name = "flip"

    def __init__(self, p: float, table: Tensor | None = None) -> None:
        self.p, self.table = check_probability("flip", p), table

    def __call__(self, ids: Tensor, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] (or images [B, 3, H, W]) to some of them mirrored."""
        drawn = draws.uniform(self.name, 1)[:, 0] < self.p
        mirrored = ids.flip(-1)
        if self.table is not None:
            self.table = self.table.to(ids.device)
            mirrored = self.table[mirrored]
        return torch.where(drawn.view(-1, *[1] * (ids.ndim - 1)), mirrored, ids)

    def __str__(self) -> str:
        return f"flip(p={self.p:g})"
