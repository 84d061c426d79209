"""Losses of rows against soft targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seit.errors import RecipeError

LOSSES = ("auto", "cross-entropy", "bce")


def loss_for(name: str, labels: Tensor) -> str:
    """Returns the loss that a recipe's word means for labels: int64 [B], or bool or float32 [B, C].

    Raises:
        RecipeError: cross-entropy for rows of several classes.
    """
    several = labels.dtype == torch.bool
    if several and name == "cross-entropy":
        raise RecipeError("rows of several classes have no cross-entropy", "loss", "set it to bce or auto")
    return name if name != "auto" else "bce" if several else "cross-entropy"


def row_losses(name: str, logits: Tensor, targets: Tensor) -> Tensor:
    """Returns each row's loss, float32 [B].

    Args:
        name: "cross-entropy" (targets are shares of 1), or "bce": binary cross-entropy, the mean over classes
            (DeiT-III; any number of classes of a row may be true).
        logits: [B, C].
        targets: float32 [B, C].
    """
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(-1)
    return -(targets * F.log_softmax(logits.float(), -1)).sum(-1)
