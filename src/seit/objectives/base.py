"""The contract of an objective: one loss a row, from which the loop makes a step without knowing what it means.

An objective holds what it needs besides the batch (augmentations, a second model) and keeps nothing between steps:
a step depends on weights, batch and draws alone, so that a run that was interrupted ends in the same bits. Labels
may be absent, as where ids are masked and guessed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from seit.augment import Draws
from seit.loading import Batch


class Objective(ABC):
    """What a training minimises.

    Attributes:
        guessing: the loss of a model that knows nothing, above which a training has failed; None if unknown.
    """

    guessing: float | None = None

    def check(self, batch: Batch) -> None:  # noqa: B027 (most take any batch)
        """Refuses a batch that cannot be learned from, before it goes to the device.

        Raises:
            RunError: something in it is missing.
        """

    @abstractmethod
    def losses(self, network: Callable[..., Any], inputs: Tensor, labels: Tensor | None, draws: Draws) -> Tensor:
        """Returns each row's loss, float32 [b]; their mean over the batch of all processes is minimised.

        Args:
            network: the model as a step calls it: in the recipe's precision, compiled, its gradients averaged over
                processes. What is done outside it is done in float32.
            inputs: ids [b, h, w], or images uint8 or float32 [b, 3, H, W], on the model's device.
            labels: int64 [b], bool or float32 [b, C], or None.
            draws: the rows' randomness; nothing else may be random.
        """
