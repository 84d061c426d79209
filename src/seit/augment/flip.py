"""Mirror: left and right change places, and every id becomes that of the mirrored patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import OnIds
from seit.augment.draws import Draws
from seit.augment.setting import Setting
from seit.errors import RecipeError


@dataclass(frozen=True)
class Flip(OnIds):
    """Mirrors rows with a probability; not in the paper. Images of a pixel run are mirrored as they are.

    Args:
        probability: of each row.

    Raises:
        RecipeError: the probability is not in [0, 1].
    """

    probability: float = 0.5

    def check(self, setting: Setting) -> None:
        """Refuses ids without the table of mirrored codes."""
        if not setting.has_codebook:
            return
        if setting.mirror is None:
            raise RecipeError(
                "mirroring ids needs the data set's tokenizer",
                self.name,
                "give --tokenizer, or set flip.probability=0",
            )
        setting.mirrored("cpu")

    def __call__(self, ids: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] (or images [B, 3, H, W]) to some of them mirrored."""
        drawn = draws.uniform(self.name, 1)[:, 0] < self.probability
        mirrored = ids.flip(-1)
        if setting.mirror is not None:
            mirrored = setting.mirrored(ids.device)[mirrored]
        return torch.where(drawn.view(-1, *[1] * (ids.ndim - 1)), mirrored, ids)
