"""The pipeline: a recipe's augmentations in the order of the paper's Fig. 3, from ids and labels to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seit.augment.base import Augmentation, Crop, Given, OnIds, OnImages, OnVectors, check_probability
from seit.augment.centre_crop import CentreCrop
from seit.augment.draws import Draws
from seit.augment.resize import check_sizes
from seit.device import keep_memory
from seit.errors import RecipeError


class Pipeline:
    """From ids and labels to a training batch; `print` shows its steps.

    Stages run in the order of Fig. 3 (`base.STAGES`), augmentations of one stage in the order given.

    Args:
        augment: a recipe's augmentations; those that are off are left out. Without a crop it is the centre's.
        grid: (h, w) of the ids, or (H, W) of a pixel run's images.
        size: (m, m) of the model's input.
        classes: C.
        codebook: [K, d], which synonyms and the noise's unit come from; None for pixels.
        mirror: returns the ids of mirrored codes, which `Flip` asks for on ids.
        view: the centre crop's region; `size` where it is None.
        smoothing: label smoothing: a target is (1 - s) one-hot + s / C.

    Attributes:
        on_images: changes to images, for the loading path of a pixel run; not run here.
        on_ids, crop, on_vectors: the steps.
        given: what they are told of data and model.

    Raises:
        RecipeError: m > n, an augmentation or a crop too many, or one that does not fit the data.
    """

    def __init__(
        self,
        augment: Sequence[Augmentation],
        grid: tuple[int, int],
        size: tuple[int, int],
        classes: int,
        *,
        codebook: Tensor | None = None,
        mirror: Callable[[], Tensor] | None = None,
        view: tuple[int, int] | None = None,
        smoothing: float = 0.1,
    ) -> None:
        check_sizes(grid, size)
        check_probability("smoothing", smoothing)
        # A copy: a learned table changes, what was made of its first state (synonyms, the noise's unit) must not.
        codes = None if codebook is None else codebook.detach().float().cpu().clone()
        self.given = Given(grid, size, view or size, codes, mirror)
        self.classes, self.smoothing = classes, smoothing
        steps = [step for step in augment if not step.off]
        _check(steps, self.given)
        crops = [step for step in steps if isinstance(step, Crop)] or [CentreCrop()]
        self.on_images = [step for step in steps if isinstance(step, OnImages)]
        self.on_ids = [step for step in steps if isinstance(step, OnIds)]
        self.crop = crops[0]
        self.on_vectors = [step for step in steps if isinstance(step, OnVectors)]
        keep_memory()

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
        if tuple(inputs.shape[-2:]) != self.given.grid:
            height, width = self.given.grid
            raise RecipeError(
                f"inputs of shape {list(inputs.shape)}", "augmentation", f"give {height}x{width} ones"
            )
        draws = draws.on(inputs.device)
        targets = self.targets(labels)
        if table is not None:
            inputs = inputs.long()
        for change in self.on_ids:
            inputs = change(inputs, draws, self.given)
        vectors = self.crop(inputs, table, draws, self.given)
        for mix in self.on_vectors:
            vectors, targets = mix(vectors, targets, draws, self.given)
        return vectors, targets

    def targets(self, labels: Tensor) -> Tensor:
        """Returns smoothed soft targets float32 [B, C] of labels int64 [B] or soft targets [B, C]."""
        off = self.smoothing / self.classes
        if labels.ndim == 2:
            return labels.float() * (1 - self.smoothing) + off
        out = torch.full((len(labels), self.classes), off, device=labels.device)
        return out.scatter_(1, labels.long()[:, None], 1 - self.smoothing + off)

    def __str__(self) -> str:
        steps = [*self.on_images, *self.on_ids, self.crop, *self.on_vectors]
        return " -> ".join([*(step.text(self.given) for step in steps), f"smoothing({self.smoothing:g})"])


def _check(steps: list[Augmentation], given: Given) -> None:
    """Refuses one augmentation given twice, two crops, and what does not fit the data."""
    kind = "pixels" if given.codebook is None else "ids"
    seen: list[str] = []
    for step in steps:
        called = "crop" if isinstance(step, Crop) else step.name
        if called in seen:
            raise RecipeError(f"there are two augmentations {called}", "augment", "leave one out")
        seen.append(called)
        if kind not in step.inputs:
            raise RecipeError(f"is not for {kind}", step.name, f"leave {step.name} out of augment")
        step.check(given)
