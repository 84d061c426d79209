"""Emb-Noise: normal noise on the vectors, one number a channel plus one a cell and channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seit.augment.base import OnVectors, for_kernels
from seit.augment.draws import Draws, quantiles
from seit.augment.setting import Setting
from seit.errors import RecipeError, nearest_names

UNITS = ("rms", "raw")


@dataclass(frozen=True)
class Noise(OnVectors):
    """Adds channel-wise and full-size normal noise to rows with a probability (paper, section 3.2.1; Table B.1).

    The paper gives no standard deviation; the released code's is 1 for both, with a codebook whose entries are of
    about that size.

    Args:
        probability: of each row.
        std: standard deviation of both noises, in units of `unit`.
        unit: "rms", the codebook's root mean square entry; or "raw", 1.
        exact: exactly that share of each group of `draws.GROUP` rows, drawn at random, not each row by itself (the
            released code, which works on the 128 rows of one process).

    Raises:
        RecipeError: a probability outside [0, 1], a negative std, or an unknown unit.
    """

    inputs = ("ids",)
    probability: float = 0.5
    std: float = 1.0
    unit: str = "rms"
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.std < math.inf:
            raise RecipeError(f"a standard deviation of {self.std}", "noise.std", "choose a value of at least 0")
        if self.unit not in UNITS:
            raise RecipeError(f"there is no unit {self.unit!r}", "noise.unit", nearest_names(self.unit, UNITS))

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, setting: Setting) -> tuple[Tensor, Tensor]:
        """Adds noise to vectors [B, d, m, m] in place; targets stay."""
        rows = self._rows(draws)
        if not len(rows):
            return vectors, targets
        stored = vectors.movedim(1, -1)  # in memory order: ten times as fast as along the strides
        if for_kernels(stored) and stored.is_contiguous():
            from seit.augment import kernels  # numba: only who trains pays for it

            keys, size = draws.rows(rows).keys(self._values), np.float32(self.size(setting))
            kernels.add_noise(stored.numpy(), rows, keys.numpy(), quantiles(keys.device).numpy(), size)
            return vectors, targets
        channel, full = self.numbers(draws.rows(rows), tuple(vectors.shape[1:]))
        full += channel[:, None, None]
        stored.index_add_(0, torch.from_numpy(rows).to(vectors.device), full, alpha=self.size(setting))
        return vectors, targets

    def size(self, setting: Setting) -> float:
        """Returns the standard deviation in the codebook's own numbers."""
        return self.std * (1.0 if self.unit == "raw" else setting.rms)

    def numbers(self, draws: Draws, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Returns rows' standard normal numbers, channel-wise [B, d] and full-size [B, m, m, d].

        Args:
            draws: of these rows alone.
            shape: (d, m, m).
        """
        channels, height, width = shape
        numbers = draws.normal(self._values, channels * (height * width + 1))
        return numbers[:, :channels], numbers[:, channels:].view(-1, height, width, channels)

    @property
    def _values(self) -> str:
        """The stream of the numbers, apart from the one that chooses the rows."""
        return self.name + "/values"

    def details(self, setting: Setting) -> list[str]:
        """Returns the standard deviation in the codebook's own numbers."""
        return [f"which is {self.size(setting):.4g}"]

    def _rows(self, draws: Draws) -> np.ndarray:
        u = draws.on("cpu").uniform(self.name, 1)[:, 0].numpy()
        if not self.exact:
            return np.flatnonzero(u < self.probability)
        taken = np.zeros(len(u), bool)
        for group, rows in draws.groups():
            of_group = np.sort(draws.uniform_of_group(self.name, group))
            count = int(len(of_group) * self.probability)
            taken[rows] = u[rows] <= (of_group[count - 1] if count else -1)
        return np.flatnonzero(taken)
