"""Stochastic depth whose draws belong to the row, not to the process: the same in any split of a batch."""

from __future__ import annotations

from timm.layers import DropPath
from torch import Tensor, nn

from seit.augment import Draws


class RowDepth(nn.Module):
    """In the place of timm's DropPath: leaves a branch out for some rows (Table B.1, Stoch. Depth).

    Args:
        rate: probability that a row skips the branch; the others' is scaled by 1 / (1 - rate).

    Attributes:
        scale: [B], of the rows to come; None leaves every row as it is.
    """

    scale: Tensor | None

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.scale = rate, None

    def forward(self, branch: Tensor) -> Tensor:
        """Scales a branch [B, ...] row by row."""
        if not self.training or self.scale is None:
            return branch
        return branch * self.scale.to(branch.dtype).view(-1, *[1] * (branch.ndim - 1))


def by_row(model: nn.Module) -> list[RowDepth]:
    """Replaces every DropPath of a network; returns the layers in their place, in the network's order."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, DropPath):
                setattr(module, name, RowDepth(child.drop_prob))
    return [module for module in model.modules() if isinstance(module, RowDepth)]


def draw(layers: list[RowDepth], draws: Draws) -> None:
    """Draws which of the rows to come skip which layers."""
    if layers:
        u = draws.uniform("depth", len(layers))
        for number, layer in enumerate(layers):
            layer.scale = (u[:, number] >= layer.rate).float() / (1 - layer.rate)
