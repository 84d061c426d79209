"""Token-EDA, synonym replacement: an id becomes one of its nearest codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import ALL_ROWS, OnIds, check_rows, rows_drawn
from seit.augment.draws import Draws
from seit.augment.setting import Setting


@dataclass(frozen=True)
class Synonym(OnIds):
    """Replaces each id with a probability by one of its synonyms, each as likely (paper, section 3.2.1, SR).

    Args:
        probability: of each id, p_s.
        rows: only rows whose draw from the stream "eda" lies in [lo, hi) take part. With intervals apart a row gets
            this or a swap, never both: the released code's choice.

    Raises:
        RecipeError: the probability or the interval is not in [0, 1].
    """

    inputs = ("ids",)
    probability: float = 0.25
    rows: tuple[float, float] = ALL_ROWS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rows(self.name, self.rows)

    def check(self, setting: Setting) -> None:
        """Refuses a codebook of one code."""
        setting.synonyms("cpu")

    def in_every_row(self) -> Synonym:
        """Returns it for all rows; the probability is an id's and stays."""
        return Synonym(self.probability)

    def __call__(self, ids: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] to ids with synonyms in them."""
        words = draws.bits(self.name, ids[0].numel())  # [B, h*w]
        flat = ids.flatten(1)
        table = setting.synonyms(ids.device)
        count = table.shape[1]
        chosen = (words >> 40).bitwise_and_((1 << 24) - 1).mul_(count).__irshift__(24)
        synonym = table.flatten()[chosen.add_(flat, alpha=count)]
        drawn = words.bitwise_and_((1 << 24) - 1) < round(self.probability * (1 << 24))
        if self.rows != ALL_ROWS:
            drawn &= rows_drawn(draws, self.rows)[:, None]
        return torch.where(drawn, synonym, flat).view_as(ids)
