"""Emb-Noise: normal noise on the vectors, one number a channel plus one a cell and channel."""

from __future__ import annotations

import torch
from torch import Tensor

from seit.augment.base import OnVectors, check_probability
from seit.augment.draws import Draws
from seit.errors import RecipeError


class Noise(OnVectors):
    """Adds channel-wise and full-size normal noise to rows with probability p (paper, section 3.2.1; Table B.1).

    The paper gives no standard deviation; the released code's is 1 for both, with a codebook whose entries are of
    about that size.

    Args:
        p: probability of each row.
        std: standard deviation of both noises, in units of `unit`.
        unit: the codebook's root mean square entry, or 1 for raw values.
        half: exactly half of each global batch, drawn at random, instead of p (the released code).

    Raises:
        RecipeError: p is no probability, or std is negative.
    """

    name = "noise"

    def __init__(self, p: float = 0.5, std: float = 1.0, unit: float = 1.0, half: bool = False) -> None:
        if std < 0:
            raise RecipeError(f"a standard deviation of {std}", "noise_std", "choose a value of at least 0")
        self.p, self.std, self.unit, self.half = check_probability("noise", p), std, unit, half

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Adds noise to vectors [B, d, m, m] in place; targets stay."""
        rows = self._rows(draws)
        if len(rows):
            channel, full = self.numbers(draws.rows(rows), tuple(vectors.shape[1:]))
            full += channel[:, None, None]
            # In memory order, which is channels last: ten times as fast as along the strides.
            vectors.movedim(1, -1).index_add_(0, rows.to(vectors.device), full, alpha=self.std * self.unit)
        return vectors, targets

    def numbers(self, draws: Draws, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Returns rows' standard normal numbers, channel-wise [B, d] and full-size [B, m, m, d].

        Args:
            draws: of these rows alone.
            shape: (d, m, m).
        """
        channels, height, width = shape
        numbers = draws.normal(self.name + "/values", channels * (height * width + 1))
        return numbers[:, :channels], numbers[:, channels:].view(-1, height, width, channels)

    def _rows(self, draws: Draws) -> Tensor:
        u = draws.on("cpu").uniform(self.name, 1)[:, 0]
        if not self.half:
            return (u < self.p).nonzero()[:, 0]
        bound = torch.empty_like(u)
        for step, rows in draws.steps():
            bound[rows] = draws.uniform_of_step(self.name, step).sort().values[draws.batch // 2]
        return (u < bound).nonzero()[:, 0]

    def __str__(self) -> str:
        rows = "half of a batch" if self.half else f"p={self.p:g}"
        return f"noise({rows}, std={self.std:g} x {self.unit:.4g})"
