"""Lookup, batched crop and resize, and the evaluation's centre crop: what the crops are made of.

Looking ids up and resizing are both linear and commute, so ids are looked up first and no one-hot tensor is made
(the paper resizes one-hot ids, section 3.2.1; the result is the same). Every row has its own box; along each axis
the bicubic resize of a box is one matrix [m, n] with four numbers a row.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seit.augment.base import for_kernels
from seit.errors import RecipeError

_A = -0.75
"""a of PyTorch's bicubic kernel."""
CUBIC = (
    (_A, _A + 2, -_A - 2, -_A),
    (-2 * _A, -_A - 3, 2 * _A + 3, _A),
    (_A, 0.0, -_A, 0.0),
    (0.0, 1.0, 0.0, 0.0),
)
"""Factors of t^3, t^2, t and 1 in the weights of the four cells about a place, t past the second of them."""


def lookup(inputs: Tensor, table: Tensor | None) -> Tensor:
    """Returns vectors in channels-last order [B, h, w, d] of ids [B, h, w], or of vectors [B, d, h, w].

    They are new memory, because what follows mixes rows in place.

    Raises:
        RecipeError: an input of another rank.
    """
    if inputs.ndim != (4 if table is None else 3):
        wanted = "vectors [B, d, h, w]" if table is None else "ids [B, h, w]"
        raise RecipeError(f"an input of shape {list(inputs.shape)}", "crop", f"give {wanted}")
    if table is None:
        return inputs.movedim(1, -1).clone(memory_format=torch.contiguous_format)
    return F.embedding(inputs.long(), table)


def taps(start: Tensor, length: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Returns what one axis' bicubic resize sums in each row: cells int64 and weights float32 [B, target, 4].

    Row b resizes cells start[b] .. start[b] + length[b] - 1 to `target` cells as
    `F.interpolate(mode="bicubic", align_corners=False)` does on the crop: no antialias, edges repeated.

    Args:
        start: int64 [B].
        length: int64 [B].
        target: m.
    """
    at = (torch.arange(target, device=start.device) + 0.5) * (length[:, None] / target) - 0.5  # [B, m]
    whole = at.floor()
    t = at - whole
    weights = torch.stack((t.pow(3), t.square(), t, torch.ones_like(t)), -1) @ torch.tensor(CUBIC).to(t.device)
    cells = whole.long()[..., None] + torch.arange(-1, 3, device=start.device)
    return cells.clamp_min(0).minimum(length[:, None, None] - 1) + start[:, None, None], weights


def matrices(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """Returns the resize of `taps` as a matrix for each row, float32 [B, target, source].

    Args:
        start: int64 [B].
        length: int64 [B].
        source: n, cells of the axis.
        target: m.
    """
    cells, weights = taps(start, length, target)
    out = torch.zeros(start.shape[0], target, source, device=start.device)
    return out.scatter_add_(2, cells, weights)


def resize(vectors: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops and resizes each row by its own box.

    Args:
        vectors: [B, h, w, d], channels last.
        boxes: int64 [B, 4]: top, left, height, width.
        size: (m, m').

    Returns:
        [B, d, m, m'], in channels_last memory order.
    """
    batch, height, width, channels = vectors.shape
    down = matrices(boxes[:, 0], boxes[:, 2], height, size[0])
    right = matrices(boxes[:, 1], boxes[:, 3], width, size[1])
    rows = torch.bmm(down, vectors.reshape(batch, height, width * channels))  # [B, m, w*d]
    cells = torch.matmul(right[:, None], rows.view(batch, size[0], width, channels))  # [B, m, m', d]
    return cells.movedim(-1, 1)


def crop_resize(inputs: Tensor, table: Tensor | None, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Looks rows up, and crops and resizes each by its own box; ids on a CPU by a compiled kernel.

    Args:
        inputs: ids int64 [B, h, w], or vectors [B, d, h, w] without a table.
        table: [K, d] or None.
        boxes: int64 [B, 4] on the CPU: top, left, height, width.
        size: (m, m').

    Returns:
        [B, d, m, m'], new memory in channels_last order.

    Raises:
        RecipeError: an input of another rank, or an id that the table lacks (kernel only).
    """
    if table is None or inputs.ndim != 3 or not for_kernels(table):
        return resize(lookup(inputs, table), boxes.to(inputs.device), size)
    low, high = (int(bound) for bound in inputs.aminmax())
    if low < 0 or high >= len(table):
        raise RecipeError(
            f"ids from {low} to {high}", "crop", f"give ids of the table's {len(table)} codes, from 0"
        )
    from seit.augment import kernels  # numba: only who trains pays for it

    # NumPy asks the system for large pages. With torch.empty a batch of 100 MB spends more time in page faults than
    # in the kernel.
    out = torch.from_numpy(np.empty((len(inputs), *size, table.shape[1]), np.float32))
    ids, vectors, places = (one.contiguous().numpy() for one in (inputs, table.detach(), boxes))
    down, right = _every_length(inputs.shape[1], size[0]), _every_length(inputs.shape[2], size[1])
    kernels.crop_resize(ids, vectors, places, *down, *right, out.numpy())
    return out.movedim(-1, 1)


@functools.cache
def _every_length(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `taps` of boxes of 1, 2, ... source cells that start at 0: a batch repeats them."""
    cells, weights = taps(torch.zeros(source, dtype=torch.int64), torch.arange(1, source + 1), target)
    return cells.numpy(), weights.numpy()


def check_sizes(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuses a crop that is larger than its grid.

    Raises:
        RecipeError: m > n.
    """
    if size[0] > grid[0] or size[1] > grid[1]:
        raise RecipeError(
            f"a crop of {size[0]}x{size[1]} from a grid of {grid[0]}x{grid[1]}",
            "crop",
            "choose a size of at most the grid",
        )


def centre_crop(
    inputs: Tensor, table: Tensor | None, size: tuple[int, int], view: tuple[int, int] | None = None
) -> Tensor:
    """Returns the evaluation input: the centre of the grid, looked up, resized only if it is not of that size.

    Args:
        inputs: ids [B, h, w], or vectors [B, d, h, w] without a table.
        table: [K, d] or None.
        size: (m, m).
        view: the centre region, in cells; `size` where it is None.

    Returns:
        vectors [B, d, m, m], new memory in channels_last order.

    Raises:
        RecipeError: the region is larger than the grid.
    """
    view = view or size
    height, width = inputs.shape[-2:]
    check_sizes((height, width), view)
    top, left = (height - view[0]) // 2, (width - view[1]) // 2
    vectors = lookup(inputs[..., top : top + view[0], left : left + view[1]], table)  # [B, h, w, d]
    if view == size:
        return vectors.movedim(-1, 1)
    boxes = torch.tensor([[0, 0, *view]], device=inputs.device).expand(inputs.shape[0], -1)
    return resize(vectors, boxes, size)
