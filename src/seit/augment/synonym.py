"""Token-EDA, synonym replacement: an id becomes one of its nearest codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import ALL_ROWS, Given, OnIds, check_rows, rows_drawn
from seit.augment.draws import Draws
from seit.errors import RecipeError

COUNT = 5


def synonyms(codebook: Tensor, count: int = COUNT) -> Tensor:
    """Returns each code's nearest other codes by Euclidean distance, int64 [K, count], nearest first.

    Equal distances go by the lower id. With fewer than `count` other codes there are only those.

    Args:
        codebook: [K, d].
        count: how many.

    Raises:
        RecipeError: the codebook has one code.
    """
    codes = codebook.detach().double()
    if len(codes) < 2:
        raise RecipeError("a codebook of one code has no synonyms", "synonym", "leave it out of augment")
    square = codes.square().sum(1)
    found = []
    for at in range(0, len(codes), 1024):
        part = codes[at : at + 1024]
        distance = square - 2 * part @ codes.T  # the own square is the same for all candidates
        distance[torch.arange(len(part)), torch.arange(at, at + len(part))] = torch.inf
        found.append(distance.sort(stable=True, dim=1).indices[:, : min(count, len(codes) - 1)])
    return torch.cat(found)


@dataclass(frozen=True)
class Synonym(OnIds):
    """Replaces each id with a probability by one of its synonyms, each as likely (paper, section 3.2.1, SR).

    Args:
        probability: of each id, p_s.
        rows: only rows whose draw from the stream "eda" lies in [lo, hi) take part. With intervals apart a row gets
            this or a swap, never both: the released code's choice.

    Raises:
        RecipeError: no probability, or no interval in [0, 1].
    """

    inputs = ("ids",)
    probability: float = 0.25
    rows: tuple[float, float] = ALL_ROWS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rows(self.name, self.rows)

    def check(self, given: Given) -> None:
        """Refuses a codebook of one code."""
        given.table(_synonyms)

    def in_every_row(self) -> Synonym:
        """Returns it for all rows; the probability is an id's and stays."""
        return Synonym(self.probability)

    def __call__(self, ids: Tensor, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] to ids with synonyms in them."""
        words = draws.bits(self.name, ids[0].numel())  # [B, h*w]
        flat = ids.flatten(1)
        table = given.table(_synonyms, ids.device)
        count = table.shape[1]
        chosen = (words >> 40).bitwise_and_((1 << 24) - 1).mul_(count).__irshift__(24)
        synonym = table.flatten()[chosen.add_(flat, alpha=count)]
        drawn = words.bitwise_and_((1 << 24) - 1) < round(self.probability * (1 << 24))
        if self.rows != ALL_ROWS:
            drawn &= rows_drawn(draws, self.rows)[:, None]
        return torch.where(drawn, synonym, flat).view_as(ids)


def _synonyms(given: Given) -> Tensor:
    assert given.codebook is not None
    return synonyms(given.codebook)
