"""The contract of an augmentation, and the pipeline that runs them in the order of the paper's Fig. 3.

An augmentation is one file in this folder and subclasses one of three stages, in the data's order:

- `OnIds`: ids [B, h, w] -> ids (Token-EDA, mirror);
- `Crop`: ids -> vectors [B, d, m, m]: looks up and resizes (Token-RRC; the place for SeiT++'s TokenAdapt);
- `OnVectors`: vectors and soft targets -> both (Token-CutMix, Emb-Noise; the place for SeiT++'s ColorAdapt).

Each takes its randomness as an argument, `Draws`, under its own name as the stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from seit.augment.draws import Draws
from seit.errors import RecipeError

CHUNK = 32
"""Rows that a CPU carries through the pipeline at a time: what they need fits a core's cache. Even, for pairs."""


def check_probability(name: str, value: float) -> float:
    """Returns `value`, a probability.

    Raises:
        RecipeError: it is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise RecipeError(f"a probability of {value}", name, "choose a value from 0 to 1")
    return value


class OnIds(ABC):
    """Changes ids before they are looked up; images of a pixel run pass through it too where it says so."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, ids: Tensor, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] int64 to ids of that shape; never in place."""

    @abstractmethod
    def __str__(self) -> str:
        """Says name and settings, e.g. `synonym(p=0.25)`."""


class Crop(ABC):
    """Looks ids up and brings them to the model's input side."""

    name: ClassVar[str]
    size: tuple[int, int]

    @abstractmethod
    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws) -> Tensor:
        """Maps ids [B, h, w] by table [K, d], or vectors [B, d, h, w] without one, to vectors [B, d, m, m].

        The result is new memory in channels_last order.
        """

    @abstractmethod
    def __str__(self) -> str:
        """Says name and settings."""


class OnVectors(ABC):
    """Changes vectors, and targets with them where rows are mixed."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Maps vectors [B, d, m, m] and targets [B, C] to the same; may overwrite both."""

    @abstractmethod
    def __str__(self) -> str:
        """Says name and settings."""


class Pipeline:
    """From ids and labels to a training batch, in the order of the paper's Fig. 3; `print` shows it.

    Args:
        on_ids: changes to ids, in order.
        crop: lookup and crop.
        on_vectors: changes to vectors, in order.
        classes: C.
        smoothing: label smoothing: a target is (1 - s) one-hot + s / C.
    """

    def __init__(
        self, on_ids: list[OnIds], crop: Crop, on_vectors: list[OnVectors], classes: int, smoothing: float
    ) -> None:
        self.on_ids, self.crop, self.on_vectors = on_ids, crop, on_vectors
        self.classes, self.smoothing = classes, check_probability("smoothing", smoothing)
        # glibc returns freed blocks to the system unless a larger one was freed before. Without this line a third
        # of the time on a CPU goes into mapping the same few megabytes again for every chunk.
        torch.empty(31 << 20, dtype=torch.uint8)

    def __call__(self, inputs: Tensor, labels: Tensor, table: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        """Augments one batch, on the device of `inputs`.

        Args:
            inputs: ids [B, h, w], any integer type; or images [B, 3, H, W] float32 with table None.
            labels: int64 [B], or soft targets [B, C].
            table: [K, d], the classifier's; may require gradients.
            draws: the rows' randomness.

        Returns:
            vectors float32 [B, d, m, m], channels_last, and targets float32 [B, C].

        Raises:
            RecipeError: inputs, labels and draws of different lengths, or none; or what an augmentation refuses.
        """
        if not len(inputs) == len(labels) == len(draws) or not len(inputs):
            raise RecipeError(
                f"{len(inputs)} inputs, {len(labels)} labels and {len(draws)} positions",
                "augmentation",
                "give as many of each, at least one",
            )
        draws = draws.on(inputs.device)
        targets = self.targets(labels)
        if inputs.device.type != "cpu" or (table is not None and table.requires_grad and torch.is_grad_enabled()):
            return self._run(inputs, targets, table, draws)
        width = inputs.shape[1] if table is None else table.shape[1]
        vectors = torch.empty(len(inputs), width, *self.crop.size, memory_format=torch.channels_last)
        for at in range(0, len(inputs), CHUNK):
            part = slice(at, at + CHUNK)
            vectors[part], targets[part] = self._run(inputs[part], targets[part], table, draws.rows(part))
        return vectors, targets

    def _run(self, inputs: Tensor, targets: Tensor, table: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        if table is not None:
            inputs = inputs.long()
        for change in self.on_ids:
            inputs = change(inputs, draws)
        vectors = self.crop(inputs, table, draws)
        for mix in self.on_vectors:
            vectors, targets = mix(vectors, targets, draws)
        return vectors, targets

    def targets(self, labels: Tensor) -> Tensor:
        """Returns smoothed soft targets float32 [B, C] of labels int64 [B] or soft targets [B, C]."""
        off = self.smoothing / self.classes
        if labels.ndim == 2:
            return labels.float() * (1 - self.smoothing) + off
        out = torch.full((len(labels), self.classes), off, device=labels.device)
        return out.scatter_(1, labels.long()[:, None], 1 - self.smoothing + off)

    def __str__(self) -> str:
        steps = [*self.on_ids, self.crop, *self.on_vectors, f"smoothing({self.smoothing:g})"]
        return " -> ".join(str(step) for step in steps)
