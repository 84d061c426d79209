"""Classification: augmented vectors -> logits -> cross-entropy or BCE against soft targets (paper, Fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from seit.augment import Draws, Pipeline
from seit.errors import RunError
from seit.loading import Batch
from seit.models import Classifier
from seit.objectives.base import Objective
from seit.objectives.losses import loss_for, row_losses


class Classify(Objective):
    """Tells the classes of rows apart.

    Args:
        model: whose table ids are looked up in.
        augment: from ids (or pixels) and labels to vectors and targets.
        loss: "cross-entropy", "bce", or "auto" (see `losses.loss_for`).
    """

    def __init__(self, model: Classifier, augment: Pipeline, loss: str = "auto") -> None:
        self.model, self.augment, self.loss = model, augment, loss
        # The mean over classes that BCE is lies far below any such bound.
        self.guessing = math.log(model.config.classes) if loss != "bce" and model.config.classes > 1 else None

    def check(self, batch: Batch) -> None:
        if batch.labels is None or (batch.labels.ndim == 1 and batch.labels.min() < 0):
            raise RunError("not every row has a label", cure="give images that lie in class folders")

    def losses(self, network: Callable[..., Any], inputs: Tensor, labels: Tensor | None, draws: Draws) -> Tensor:
        assert labels is not None  # `check` saw to it
        vectors, targets = self.augment(inputs, labels, self.model.table, draws)
        return row_losses(loss_for(self.loss, labels), network(vectors), targets)
