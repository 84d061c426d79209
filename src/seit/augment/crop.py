"""Crops: Token-RRC, random crop and centre crop, each one batched separable resize.

Looking ids up and resizing are both linear and commute, so ids are looked up first and no one-hot tensor is made
(the paper resizes one-hot ids, section 3.2.1; the result is the same). Every row has its own box; along each axis
the bicubic resize of a box is one matrix [m, n] with four numbers a row.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from seit.augment.base import Crop
from seit.augment.draws import Draws
from seit.errors import RecipeError

TRIES = 10
CUBIC = -0.75
"""a of PyTorch's bicubic kernel."""


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


def matrices(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """Returns the bicubic resize of one axis for each row, float32 [B, target, source].

    Row b resizes cells start[b] .. start[b] + length[b] - 1 to `target` cells as
    `F.interpolate(mode="bicubic", align_corners=False)` does on the crop: no antialias, edges repeated.

    Args:
        start: int64 [B].
        length: int64 [B].
        source: n, cells of the axis.
        target: m.
    """
    at = (torch.arange(target, device=start.device) + 0.5) * (length[:, None] / target) - 0.5  # [B, m]
    whole = at.floor()
    t = at - whole
    near, far = torch.stack((t, 1 - t), -1), torch.stack((t + 1, 2 - t), -1)
    inner = ((CUBIC + 2) * near - (CUBIC + 3)) * near * near + 1
    outer = ((CUBIC * far - 5 * CUBIC) * far + 8 * CUBIC) * far - 4 * CUBIC
    weights = torch.stack((outer[..., 0], inner[..., 0], inner[..., 1], outer[..., 1]), -1)  # [B, m, 4]
    cells = whole.long()[..., None] + torch.arange(-1, 3, device=start.device)
    cells = cells.clamp_min(0).minimum(length[:, None, None] - 1) + start[:, None, None]
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


def resized_boxes(
    u: Tensor, grid: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Returns random-resized-crop boxes int64 [B, 4]: top, left, height, width.

    The rule is torchvision's: an area uniform in `scale`, a ratio log-uniform in `ratio`, the first of ten tries
    that fits the grid; otherwise the largest centred box of an allowed ratio.

    Args:
        u: uniform numbers [B, 22].
        grid: (h, w).
        scale: bounds of the area's share.
        ratio: bounds of width / height.
    """
    height, width = grid
    area = (scale[0] + (scale[1] - scale[0]) * u[:, :TRIES]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * u[:, TRIES : 2 * TRIES]).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()  # [B, tries]
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    whole_h, whole_w = height, width
    if width < ratio[0] * height:
        whole_h = round(width / ratio[0])
    elif width > ratio[1] * height:
        whole_w = round(height * ratio[1])
    found = fits.gather(1, first)[:, 0]
    h = torch.where(found, h.gather(1, first)[:, 0], float(whole_h))
    w = torch.where(found, w.gather(1, first)[:, 0], float(whole_w))
    top = torch.where(found, (u[:, -2] * (height - h + 1)).floor(), ((height - h) / 2).floor())
    left = torch.where(found, (u[:, -1] * (width - w + 1)).floor(), ((width - w) / 2).floor())
    return torch.stack((top, left, h, w), 1).long()


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


class ResizedCrop(Crop):
    """Token-RRC: a random box of the grid, resized to m x m (paper, section 3.2.1).

    Args:
        size: (m, m).
        scale: bounds of the box's share of the area.
        ratio: bounds of its width / height.

    Raises:
        RecipeError: bounds that are no bounds.
    """

    name = "rrc"

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise RecipeError(
                f"a scale of {scale[0]} to {scale[1]}", "crop", "choose bounds in (0, 1], lower first"
            )
        if not 0 < ratio[0] <= ratio[1]:
            raise RecipeError(f"a ratio of {ratio[0]} to {ratio[1]}", "crop", "choose bounds above 0, lower first")
        self.size, self.scale, self.ratio = size, scale, ratio

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        vectors = lookup(inputs, table)
        grid = (vectors.shape[1], vectors.shape[2])
        check_sizes(grid, self.size)
        return resize(vectors, self.boxes(draws, grid), self.size)

    def boxes(self, draws: Draws, grid: tuple[int, int]) -> Tensor:
        """Returns each row's box, int64 [B, 4]: top, left, height, width."""
        return resized_boxes(draws.uniform(self.name, 2 * TRIES + 2), grid, self.scale, self.ratio)

    def __str__(self) -> str:
        scale, ratio = (f"({low:.3g}, {high:.3g})" for low, high in (self.scale, self.ratio))
        return f"rrc(scale={scale}, ratio={ratio}, bicubic to {self.size[0]}x{self.size[1]})"


class RandomCrop(Crop):
    """A box of m x m cells at a random place, not resized (paper, section 4.5, for the large pre-training).

    Args:
        size: (m, m).
    """

    name = "random"

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        vectors = lookup(inputs, table)  # [B, h, w, d]
        batch, height, width, _ = vectors.shape
        check_sizes((height, width), self.size)
        if (height, width) == self.size:
            return vectors.movedim(-1, 1)
        u = draws.uniform(self.name, 2)
        room = torch.tensor([height - self.size[0] + 1, width - self.size[1] + 1], device=u.device)
        top, left = (u * room).long().unbind(1)
        rows = top[:, None] + torch.arange(self.size[0], device=u.device)  # [B, m]
        columns = left[:, None] + torch.arange(self.size[1], device=u.device)
        one = torch.arange(batch, device=u.device)[:, None, None]
        return vectors[one, rows[:, :, None], columns[:, None]].movedim(-1, 1)

    def __str__(self) -> str:
        return f"random crop({self.size[0]}x{self.size[1]})"


class CentreCrop(Crop):
    """The evaluation crop as a training crop: nothing is random.

    Args:
        size: (m, m).
        view: the centre region it sees, in cells.
    """

    name = "centre"

    def __init__(self, size: tuple[int, int], view: tuple[int, int]) -> None:
        self.size, self.view = size, view

    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] (or vectors [B, d, h, w]) to vectors [B, d, m, m]."""
        return centre_crop(inputs, table, self.size, self.view)

    def __str__(self) -> str:
        return f"centre crop({self.view[0]}x{self.view[1]} to {self.size[0]}x{self.size[1]})"


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
    vectors = lookup(inputs, table)  # [B, h, w, d]
    height, width = vectors.shape[1:3]
    check_sizes((height, width), view)
    top, left = (height - view[0]) // 2, (width - view[1]) // 2
    vectors = vectors[:, top : top + view[0], left : left + view[1]].contiguous()
    if view == size:
        return vectors.movedim(-1, 1)
    boxes = torch.tensor([[0, 0, *view]], device=inputs.device).expand(inputs.shape[0], -1)
    return resize(vectors, boxes, size)
