"""Token-EDA, random swap: two equal squares of the grid change places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seit.augment.base import ALL_ROWS, OnIds, check_rows, rows_drawn
from seit.augment.draws import Draws
from seit.augment.setting import Setting

TRIES = 16


@dataclass(frozen=True)
class Swap(OnIds):
    """Swaps two equal, non-overlapping squares of a row with a probability (paper, section 3.2.1, RS).

    The paper gives no size; as in the released code the side is floor(n u / 4), u uniform, for a grid of n: 0 to 7
    of 32, where 0 changes nothing. Unlike there, every corner at which a square fits is as likely, the last row and
    column included, and the squares never overlap, so that no id is lost.

    Args:
        probability: of each row, p_r.
        rows: only rows whose draw from the stream "eda" lies in [lo, hi) take part; see `Synonym`.

    Raises:
        RecipeError: no probability, or no interval in [0, 1].
    """

    inputs = ("ids",)
    probability: float = 0.25
    rows: tuple[float, float] = ALL_ROWS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rows(self.name, self.rows)

    def in_every_row(self) -> Swap:
        """Returns it for all rows."""
        return Swap(1.0)

    def __call__(self, ids: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] to ids with two squares exchanged in some rows."""
        draws = draws.on("cpu")
        u = draws.uniform(self.name, 2 + 4 * TRIES).numpy()  # [B, 2 + 4 tries]
        drawn = u[:, 0] < self.probability
        if self.rows != ALL_ROWS:
            drawn &= rows_drawn(draws, self.rows).numpy()
        rows = np.flatnonzero(drawn)
        return exchange(ids, rows, *squares(u[rows, 1], u[rows, 2:], *ids.shape[1:])) if len(rows) else ids


def squares(size: np.ndarray, places: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the squares to exchange: side int64 [R] and corners int64 [R, 2, 2] (first, second; row, column).

    Corner pairs are drawn until they do not overlap; after 16 tries (fewer than one in 10^11 at side 7 of 32) the
    side is 0.

    Args:
        size: [R] uniform numbers.
        places: [R, 4 * tries] uniform numbers.
        height: of the grid.
        width: of the grid.
    """
    side = (size * (min(height, width) / 4)).astype(np.int64)
    room = np.array((height, width)) - side[:, None, None, None] + 1  # [R, 1, 1, 2]
    corners = (places.reshape(len(side), -1, 2, 2) * room).astype(np.int64)
    apart = (np.abs(corners[:, :, 0] - corners[:, :, 1]) >= side[:, None, None]).any(2)  # [R, tries]
    row, first = np.arange(len(side)), apart.argmax(1)
    return side * apart[row, first], corners[row, first]


def exchange(ids: Tensor, rows: np.ndarray, side: np.ndarray, corners: np.ndarray) -> Tensor:
    """Returns ids [B, h, w] with two squares of some rows exchanged.

    Args:
        ids: [B, h, w].
        rows: int64 [R], which.
        side: [R].
        corners: [R, 2, 2].
    """
    from seit.augment import kernels  # numba: only who trains pays for it

    places = torch.from_numpy(kernels.square_places(rows, side, corners, *ids.shape[1:])).to(ids.device)
    out = ids.clone(memory_format=torch.contiguous_format)
    flat = out.view(-1)
    flat[places] = flat[places.flip(0)]
    return out
