"""The pipeline: a recipe's augmentations in the order of the paper's Fig. 3, from ids and labels to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seit.augment.base import Augmentation, Crop, Lookup, OnIds, OnImages, OnVectors, check_probability
from seit.augment.centre_crop import CentreCrop
from seit.augment.draws import Draws
from seit.augment.normalise import Normalise
from seit.augment.resize import check_sizes
from seit.augment.setting import Setting
from seit.device import keep_memory
from seit.errors import RecipeError


class Pipeline:
    """From ids (or pixels) and labels to a training batch; `print` shows its steps.

    Stages run in the order of Fig. 3 (`base.STAGES`), augmentations of one stage in the order of the recipe.

    Args:
        augment: a recipe's augmentations; those that are off are left out. Without a crop it is the centre's.
        grid: (h, w) of the ids, or (H, W) of a pixel run's images.
        size: (m, m) of the model's input.
        classes: C.
        codebook: [K, d] of a run on ids, which synonyms and the noise's unit come from.
        normalise: the scale of a pixel run's images.
        mirror: returns the ids of mirrored codes, which `Flip` asks for on ids.
        view: the centre crop's region; `size` where it is None.
        smoothing: label smoothing: a target is (1 - s) one-hot + s / C.

    Attributes:
        on_images: changes to images, for the loading path of a pixel run; not run here.
        on_ids, crop, on_vectors, lookup: the steps.
        setting: what they are told of data and model.

    Raises:
        RecipeError: m > n, an augmentation twice, one that does not fit the data, or not one of codebook and
            normalise.
    """

    def __init__(
        self,
        augment: Sequence[Augmentation],
        grid: tuple[int, int],
        size: tuple[int, int],
        classes: int,
        *,
        codebook: Tensor | None = None,
        normalise: Normalise | None = None,
        mirror: Callable[[], Tensor] | None = None,
        view: tuple[int, int] | None = None,
        smoothing: float = 0.1,
    ) -> None:
        check_sizes(grid, size)
        check_probability("smoothing", smoothing)
        if (codebook is None) == (normalise is None):
            raise RecipeError("needs one of codebook and normalise", "augmentation", "give what the inputs are")
        steps = [step for step in augment if not step.off]
        networks = {step.name: network.eval() for step in steps if (network := step.load()) is not None}
        for network in networks.values():
            network.requires_grad_(False)
        self.setting = Setting(grid, size, view or size, codebook, mirror, networks)
        self.classes, self.smoothing, self.normalise = classes, smoothing, normalise
        _check(steps, self.setting)
        self.on_images = [step for step in steps if isinstance(step, OnImages)]
        self.on_ids = [step for step in steps if isinstance(step, OnIds)]
        self.crop = next((step for step in steps if isinstance(step, Crop)), CentreCrop())
        self.on_vectors = [step for step in steps if isinstance(step, OnVectors)]
        self.lookup = next((step for step in steps if isinstance(step, Lookup)), None)
        keep_memory()

    def __call__(self, inputs: Tensor, labels: Tensor, table: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        """Augments one batch, on the device of `inputs`.

        Args:
            inputs: ids [B, h, w], any integer type; or pixels uint8 [B, 3, H, W] with table None.
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
        if tuple(inputs.shape[-2:]) != self.setting.grid or inputs.is_floating_point():
            height, width = self.setting.grid
            raise RecipeError(
                f"inputs are {inputs.dtype} {list(inputs.shape)}",
                "augmentation",
                f"give {'ids' if self.normalise is None else 'uint8 pixels'} of {height}x{width}",
            )
        draws = draws.on(inputs.device)
        targets = self.targets(labels)
        inputs = inputs.long() if self.normalise is None else self.normalise(inputs)
        for change in self.on_ids:
            inputs = change(inputs, draws, self.setting)
        if self.lookup is None or table is None:
            vectors = self.crop(inputs, table, draws, self.setting)
        else:
            vectors = self.crop(inputs, self.setting.codebook(inputs.device), draws, self.setting)
        for mix in self.on_vectors:
            vectors, targets = mix(vectors, targets, draws, self.setting)
        if self.lookup is not None and table is not None:
            vectors = self.lookup(vectors, table, draws, self.setting)
        return vectors, targets

    def targets(self, labels: Tensor) -> Tensor:
        """Returns smoothed soft targets float32 [B, C] of labels int64 [B] or soft targets [B, C]."""
        off = self.smoothing / self.classes
        if labels.ndim == 2:
            return labels.float() * (1 - self.smoothing) + off
        out = torch.full((len(labels), self.classes), off, device=labels.device)
        return out.scatter_(1, labels.long()[:, None], 1 - self.smoothing + off)

    @property
    def steps(self) -> list[Augmentation]:
        """The augmentations in the order in which they run."""
        last = [] if self.lookup is None else [self.lookup]
        return [*self.on_images, *self.on_ids, self.crop, *self.on_vectors, *last]

    def __str__(self) -> str:
        return " -> ".join([*(step.text(self.setting) for step in self.steps), f"smoothing({self.smoothing:g})"])


def _check(steps: list[Augmentation], setting: Setting) -> None:
    """Refuses an augmentation named twice, two crops or look-ups, and one that does not fit the data."""
    kind = "ids" if setting.has_codebook else "pixels"
    seen: list[str] = []
    for step in steps:
        called = "crop" if isinstance(step, Crop) else "lookup" if isinstance(step, Lookup) else step.name
        if called in seen:
            raise RecipeError(f"there are two augmentations {called}", "augment", "leave one out")
        seen.append(called)
        if kind not in step.inputs:
            raise RecipeError(f"is not for {kind}", step.name, f"leave {step.name} out of augment")
        step.check(setting)
