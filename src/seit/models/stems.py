"""Stem adapters: what replaces a trunk's first layer, so that vectors [B, d, m, m] fit it.

A stem is one row of `STEMS`: a convolution and the region of the grid that it sees. Behind the convolution stands
what the trunk's own stem has there (a norm, an activation), which `trunks.py` keeps.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import Tensor, nn

from seit.errors import ModelError, nearest_names

SMALL = 8
"""A grid of at most so many cells is not cropped."""
SMALL_IMAGE = 32
"""Likewise an image of so many pixels."""


@dataclass(frozen=True)
class Stem:
    """One way from vectors to a trunk's width (paper, section 3.2.2 and Table 6).

    Attributes:
        kernel: side of the convolution's kernel.
        stride: its stride; of a transposed one, the enlargement.
        padding: zeros on each side.
        after: zeros at the bottom and right alone.
        transposed: a deconvolution.
        shrink: cells of the view to a cell of the input, to which the view is resized.
        pixels: the input is an RGB image.
        native: the trunk keeps the stem that it has for pixels.
    """

    kernel: int
    stride: int
    padding: int = 0
    after: int = 0
    transposed: bool = False
    shrink: int = 1
    pixels: bool = False
    native: bool = False

    def view_side(self, side: int) -> int:
        """Returns how many of the grid's `side` cells the model sees at evaluation, in the centre.

        7/8 of the side (28 of 32 cells, 224 of 256 pixels), or all of a side of at most 8 cells or 32 pixels;
        rounded to whole strides.
        """
        step = self.shrink * (1 if self.transposed else self.stride)
        if side <= (SMALL_IMAGE if self.pixels else SMALL):
            return side // step * step
        return step * math.floor(7 * side / 8 / step + 0.5)

    def input_side(self, side: int) -> int:
        """Returns m, the side of the input that this stem takes of a grid with `side` cells.

        Raises:
            ModelError: the stem shrinks a grid that is small already.
        """
        if self.shrink > 1 and side <= SMALL:
            raise ModelError(f"shrinks a grid of {side} cells a side, which is few", "stem", "choose conv3")
        return self.view_side(side) // self.shrink

    def output_side(self, side: int) -> int:
        """Returns k, the trunk's side for an input of `side` cells."""
        if self.transposed:
            return side * self.stride
        return (side + 2 * self.padding + self.after - self.kernel) // self.stride + 1

    def convolution(self, channels: int, width: int, bias: bool) -> nn.Module:
        """Returns the convolution from `channels` to `width`, with PyTorch's default initial weights."""
        if self.transposed:
            padding = (self.kernel - self.stride) // 2
            return nn.ConvTranspose2d(channels, width, self.kernel, self.stride, padding, bias=bias)
        conv = nn.Conv2d(channels, width, self.kernel, self.stride, self.padding, bias=bias)
        return nn.Sequential(nn.ZeroPad2d((0, self.after, 0, self.after)), conv) if self.after else conv


STEMS = {
    "linear": Stem(1, 1, shrink=2),
    "conv2": Stem(2, 2),
    "conv4": Stem(4, 2, 1),
    "conv2s1": Stem(2, 1, after=1),
    "conv3": Stem(3, 1, 1),
    "deconv": Stem(4, 2, transposed=True),
}
"""By name: Table 6's three (linear sees 28 cells as 14), the one for 16-pixel tokenizers (B.5; 14 of 16 cells in,
14 out), the one for grids that are small already, and the one for ResNets (28 in, 56 out). For pixels there are
`patch<k>`, patch16 being ViT's own, and `native`, a ResNet's own."""
NATIVE = Stem(3, 1, 1, pixels=True, native=True)
"""Of timm's ResNets their 7 x 7 convolution and max-pool; of the small ones, which have none, this 3 x 3 one."""


def stem_of(name: str) -> Stem:
    """Returns the stem called `name`: one of `STEMS`, `patch<k>` or `native`.

    Raises:
        ModelError: there is none of that name.
    """
    if name in STEMS:
        return STEMS[name]
    if name == "native":
        return NATIVE
    if match := re.fullmatch(r"patch([1-9]\d?)", name):
        patch = int(match[1])
        return Stem(patch, patch, pixels=True)
    raise ModelError(
        f"there is no stem {name!r}", "stem", nearest_names(name, [*STEMS, "native", "patch4", "patch8", "patch16"])
    )


def token_stem(side: int) -> str:
    """Returns the stem for ids of a grid whose shorter side is `side`: the paper's, conv3 where cells are few."""
    return "conv3" if side <= SMALL else "conv4"


class StemAdapter(nn.Module):
    """A stem's convolution and a norm, in the layout that a transformer's blocks take.

    Args:
        proj: maps [B, d, m, m] to [B, D, k, k].
        norm: over the last axis, or the identity.
        flatten: give [B, k*k, D] (ViT) rather than [B, k, k, D] (Swin).
        grid: (k, k).
    """

    def __init__(self, proj: nn.Module, norm: nn.Module, flatten: bool, grid: tuple[int, int]) -> None:
        super().__init__()
        self.proj, self.norm, self.flatten, self.grid_size = proj, norm, flatten, grid

    def forward(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, m, m] to the trunk's cells [B, k*k, D] or [B, k, k, D]."""
        cells = self.proj(vectors).movedim(1, -1)  # [B, k, k, D]
        return self.norm(cells.flatten(1, 2) if self.flatten else cells)

    def dynamic_feat_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns (k, k); timm's feature extraction asks for it."""
        return self.grid_size
