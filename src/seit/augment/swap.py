"""Token-EDA, random swap: two equal squares of the grid change places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seit.augment.base import ALL_ROWS, Given, OnIds, check_rows, rows_drawn
from seit.augment.draws import Draws

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

    def __call__(self, ids: Tensor, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] to ids with two squares exchanged in some rows."""
        draws = draws.on("cpu")
        u = draws.uniform(self.name, 2 + 4 * TRIES)  # [B, 2 + 4 tries]
        drawn = u[:, 0] < self.probability
        if self.rows != ALL_ROWS:
            drawn &= rows_drawn(draws, self.rows)
        rows = drawn.nonzero()[:, 0]
        if not len(rows):
            return ids
        side, corners = squares(u[rows, 1], u[rows, 2:], ids.shape[1], ids.shape[2])
        out, rows = ids.clone(), rows.to(ids.device)
        out[rows] = exchange(ids[rows], side.to(ids.device), corners.to(ids.device))
        return out


def squares(size: Tensor, places: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Returns the squares to exchange: side int64 [B] and corners int64 [B, 2, 2] (first, second; row, column).

    Corner pairs are drawn until they do not overlap; after 16 tries (fewer than one in 10^11 at side 7 of 32) the
    side is 0.

    Args:
        size: [B] uniform numbers.
        places: [B, 4 * tries] uniform numbers.
        height: of the grid.
        width: of the grid.
    """
    side = (size * (min(height, width) / 4)).long()
    room = torch.stack((height - side + 1, width - side + 1), 1)[:, None, None]  # [B, 1, 1, 2]
    corners = (places.view(len(side), -1, 2, 2) * room).long()
    apart = ((corners[:, :, 0] - corners[:, :, 1]).abs() >= side[:, None, None]).any(2)  # [B, tries]
    first = apart.int().argmax(1)
    row = torch.arange(len(side), device=side.device)
    return torch.where(apart[row, first], side, 0), corners[row, first]


def exchange(ids: Tensor, side: Tensor, corners: Tensor) -> Tensor:
    """Returns ids [B, h, w] with the two squares of each row exchanged.

    Args:
        ids: [B, h, w].
        side: [B].
        corners: [B, 2, 2].
    """
    width = ids.shape[2]
    # Cells beyond a row's side repeat its last one: the same id is written there twice.
    cell = torch.arange(max(min(ids.shape[1:]) // 4, 1), device=ids.device).minimum(
        (side - 1).clamp_min(0)[:, None]
    )
    y, x = (corners[..., axis, None] + cell[:, None] for axis in (0, 1))  # [B, 2, cells]
    places = (y[..., None] * width + x[:, :, None]).flatten(2)  # [B, 2, cells^2], places in the flat grid
    first, second = (places * (side > 0)[:, None, None]).unbind(1)  # a row of side 0 exchanges a cell with itself
    flat = ids.flatten(1)
    out = flat.scatter(1, first, flat.gather(1, second)).scatter_(1, second, flat.gather(1, first))
    return out.view_as(ids)
