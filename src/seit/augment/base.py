"""The contract of an augmentation: a frozen dataclass of settings and one call, alone in a file of its name.

The stage that it derives from says when it runs; the stages in the data's order (paper, Fig. 3):

- `OnImages`: a decoded image of a pixel run, while it is loaded (RandAugment);
- `OnIds`: ids [B, h, w] -> ids (Token-EDA, mirror);
- `Crop`: ids -> vectors [B, d, m, m]: looks up and resizes (Token-RRC; the place for SeiT++'s TokenAdapt);
- `OnVectors`: vectors and soft targets -> both (Token-CutMix, Emb-Noise; the place for SeiT++'s ColorAdapt);
- `Lookup`: vectors of the codebook -> vectors of the model's table (re-quantisation). Without one the crop looks
  up in the model's table itself.

Each takes its randomness as an argument, `Draws`, under its own name as the stream, and what it must know of data
and model as another, `Setting`. It holds nothing but settings, so any of them prints, compares and becomes JSON;
one that carries a network names its file in a setting and opens it in `load`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from seit.augment.draws import Draws
from seit.augment.setting import Setting
from seit.errors import RecipeError

ALL_ROWS = (0.0, 1.0)
"""The interval of a row's draw that leaves no row out."""


def check_probability(where: str, value: float) -> None:
    """Checks a probability.

    Raises:
        RecipeError: `value` is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise RecipeError(f"a probability of {value}", where, "choose a value from 0 to 1")


def check_rows(name: str, rows: tuple[float, float]) -> None:
    """Checks an interval of a row's draw.

    Raises:
        RecipeError: the bounds are not in order within [0, 1].
    """
    if not 0 <= rows[0] < rows[1] <= 1:
        raise RecipeError(
            f"rows from {rows[0]} to {rows[1]}", f"{name}.rows", "choose bounds in [0, 1], lower first"
        )


def rows_drawn(draws: Draws, rows: tuple[float, float]) -> Tensor:
    """Returns whether each row's draw lies in [lo, hi): bool [B]; Token-EDA's two share the stream "eda"."""
    u = draws.uniform("eda", 1)[:, 0]
    return (u >= rows[0]) & (u < rows[1])


def for_kernels(numbers: Tensor) -> bool:
    """Returns whether the compiled kernels take these numbers: float32 on a CPU that need no gradients."""
    kept = numbers.requires_grad and torch.is_grad_enabled()
    return numbers.device.type == "cpu" and numbers.dtype == torch.float32 and not kept


class Augmentation(ABC):
    """Settings of one augmentation; a subclass is a frozen dataclass alone in a file of its name.

    A field `probability` is checked to be one; at 0 the augmentation is left out.

    Attributes:
        name: the file's, by which recipes, `--set` and the random stream call it.
        inputs: what it works on, "ids" and "pixels" or one of them.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ("ids", "pixels")

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]

    def __post_init__(self) -> None:
        check_probability(f"{self.name}.probability", getattr(self, "probability", 1))

    @property
    def off(self) -> bool:
        """Whether it changes nothing, whatever its input."""
        return getattr(self, "probability", 1) == 0

    def settings(self) -> dict[str, Any]:
        """Returns the settings by name."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}  # type: ignore[arg-type]

    def load(self) -> nn.Module | None:
        """Returns the network that it carries, if any; called once, before training.

        The network is frozen; a call finds it in `setting.network(self.name, device)`.
        """
        return None

    def check(self, setting: Setting) -> None:  # noqa: B027 (most take any data)
        """Refuses data or a model that it cannot work on; called once, before training.

        Raises:
            RecipeError: something does not fit.
        """

    def text(self, setting: Setting) -> str:
        """Returns name and settings, e.g. `swap(probability=0.25)`, without those that restrict nothing."""
        parts = [f"{k}={_short(v)}" for k, v in self.settings().items() if v is not False and v != ALL_ROWS]
        return f"{self.name}({', '.join(parts + self.details(setting))})"

    def details(self, setting: Setting) -> list[str]:
        """Returns what `text` adds to the settings."""
        return []

    def in_every_row(self) -> Augmentation:
        """Returns it as each row shows it, for `seit show --augment`."""
        return dataclasses.replace(self, probability=1.0) if hasattr(self, "probability") else self  # type: ignore


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class OnImages(Augmentation):
    """Changes a decoded image while it is loaded, in pixel runs alone."""

    inputs = ("pixels",)

    @abstractmethod
    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Maps an image uint8 [H, W, 3] to one; `seed` is drawn for the row, the only source of chance."""


class OnIds(Augmentation):
    """Changes ids before they are looked up; normalised images of a pixel run pass through it where it allows."""

    @abstractmethod
    def __call__(self, ids: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] int64 to ids of that shape; never in place."""


class Crop(Augmentation):
    """Looks ids up and brings them to the model's input side; a recipe has one, or none for the centre crop."""

    @abstractmethod
    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, setting: Setting) -> Tensor:
        """Maps ids [B, h, w] by table [K, d], or vectors [B, d, h, w] without one, to vectors [B, d, m, m].

        The result is new memory in channels_last order.
        """


class OnVectors(Augmentation):
    """Changes vectors, and targets with them where rows are mixed."""

    @abstractmethod
    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, setting: Setting) -> tuple[Tensor, Tensor]:
        """Maps vectors [B, d, m, m] and targets [B, C] to the same; may overwrite both."""


class Lookup(Augmentation):
    """Turns augmented vectors of the codebook into vectors of the model's table, last; a recipe has one or none."""

    inputs = ("ids",)

    @abstractmethod
    def __call__(self, vectors: Tensor, table: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps vectors [B, d, m, m] of the codebook by table [K, d'] to [B, d', m, m], channels_last."""


STAGES = (OnImages, OnIds, Crop, OnVectors, Lookup)
"""In the data's order."""
