"""Token-EDA, synonym replacement: an id becomes one of its nearest codes."""

from __future__ import annotations

import torch
from torch import Tensor

from seit.augment.base import OnIds, check_probability
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
        raise RecipeError("a codebook of one code has no synonyms", "synonym", "set its probability to 0")
    square = codes.square().sum(1)
    found = []
    for at in range(0, len(codes), 1024):
        part = codes[at : at + 1024]
        distance = square - 2 * part @ codes.T  # the own square is the same for all candidates
        distance[torch.arange(len(part)), torch.arange(at, at + len(part))] = torch.inf
        found.append(distance.sort(stable=True, dim=1).indices[:, : min(count, len(codes) - 1)])
    return torch.cat(found)


class Synonym(OnIds):
    """Replaces each id with probability p by one of its synonyms, each as likely (paper, section 3.2.1, SR).

    Args:
        p: probability of each id, p_s.
        table: int64 [K, 5] of `synonyms`.
        window: only rows whose draw from the stream "eda" lies in [lo, hi) take part; the released code's
            "one of" choice. None: all rows, as the paper has it.

    Raises:
        RecipeError: p is no probability.
    """

    name = "synonym"

    def __init__(self, p: float, table: Tensor, window: tuple[float, float] | None = None) -> None:
        self.p, self.table, self.window = check_probability("synonym", p), table, window

    def __call__(self, ids: Tensor, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] to ids with synonyms in them."""
        words = draws.bits(self.name, ids[0].numel())  # [B, h*w]
        flat = ids.flatten(1)
        count = self.table.shape[1]
        self.table = self.table.to(ids.device)
        chosen = (words >> 40).bitwise_and_((1 << 24) - 1).mul_(count).__irshift__(24)
        synonym = self.table.flatten()[chosen.add_(flat, alpha=count)]
        drawn = words.bitwise_and_((1 << 24) - 1) < round(self.p * (1 << 24))
        if self.window is not None:
            u = draws.uniform("eda", 1)
            drawn &= (u >= self.window[0]) & (u < self.window[1])
        return torch.where(drawn, synonym, flat).view_as(ids)

    def __str__(self) -> str:
        rows = "" if self.window is None else f", rows={self.window[1] - self.window[0]:g}"
        return f"synonym(p={self.p:g}{rows})"
