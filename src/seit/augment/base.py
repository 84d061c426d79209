"""The contract of an augmentation: a frozen dataclass of settings and one call, alone in a file of its name.

The stage that it derives from says when it runs; the stages in the data's order (paper, Fig. 3):

- `OnImages`: a decoded image of a pixel run, while it is loaded (the place for RandAugment);
- `OnIds`: ids [B, h, w] -> ids (Token-EDA, mirror);
- `Crop`: ids -> vectors [B, d, m, m]: looks up and resizes (Token-RRC; the place for SeiT++'s TokenAdapt);
- `OnVectors`: vectors and soft targets -> both (Token-CutMix, Emb-Noise; the place for SeiT++'s ColorAdapt).

Each takes its randomness as an argument, `Draws`, under its own name as the stream, and what it must know of data
and model as another, `Given`. It holds nothing but settings, so any of them prints, compares and becomes JSON.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from seit.augment.draws import Draws
from seit.errors import RecipeError

ALL_ROWS = (0.0, 1.0)
"""The interval of a row's draw that leaves no row out."""


def check_probability(where: str, value: float) -> None:
    """Refuses what is no probability.

    Raises:
        RecipeError: `value` is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise RecipeError(f"a probability of {value}", where, "choose a value from 0 to 1")


def check_rows(name: str, rows: tuple[float, float]) -> None:
    """Refuses what is no interval of a row's draw.

    Raises:
        RecipeError: the bounds are not in order within [0, 1].
    """
    if not 0 <= rows[0] < rows[1] <= 1:
        raise RecipeError(
            f"rows from {rows[0]} to {rows[1]}", f"{name}.rows", "choose bounds in [0, 1], lower first"
        )


def rows_drawn(draws: Draws, rows: tuple[float, float]) -> Tensor:
    """Returns which rows' draw from the stream "eda", shared by Token-EDA's two, lies in [lo, hi): bool [B]."""
    u = draws.uniform("eda", 1)[:, 0]
    return (u >= rows[0]) & (u < rows[1])


def for_kernels(numbers: Tensor) -> bool:
    """Returns whether the compiled kernels take these numbers: float32 on a CPU, and nobody asks for gradients."""
    kept = numbers.requires_grad and torch.is_grad_enabled()
    return numbers.device.type == "cpu" and numbers.dtype == torch.float32 and not kept


@dataclass(frozen=True)
class Given:
    """What data and model settle.

    Attributes:
        grid: (h, w) of the ids, or (H, W) of a pixel run's images.
        size: (m, m) of the model's input.
        view: the centre region that the model sees at evaluation.
        codebook: float32 [K, d] before training, on the CPU; None in a pixel run.
        mirror: returns the id of each code's mirrored patch, int64 [K]; None where no tokenizer is at hand.
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    view: tuple[int, int]
    codebook: Tensor | None = None
    mirror: Callable[[], Tensor] | None = None
    _made: dict[Any, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def table(self, make: Callable[[Given], Tensor], device: torch.device | str = "cpu") -> Tensor:
        """Returns `make(self)` on a device; it is made once, and copied once to each device."""
        if make not in self._made:
            self._made[make] = make(self)
        if (make, device) not in self._made:
            self._made[make, device] = self._made[make].to(device)
        return self._made[make, device]


class Augmentation(ABC):
    """Settings of one augmentation; a subclass is a frozen dataclass alone in a file of its name.

    A field `probability` is checked to be one; at 0 the pipeline leaves the augmentation out.

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
        """Whether it changes nothing, whatever it is given."""
        return getattr(self, "probability", 1) == 0

    def settings(self) -> dict[str, Any]:
        """Returns the settings by name."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}  # type: ignore[arg-type]

    def check(self, given: Given) -> None:  # noqa: B027 (most take any data)
        """Refuses data or a model that it cannot work on; called once, before training.

        Raises:
            RecipeError: something does not fit.
        """

    def text(self, given: Given) -> str:
        """Says name and settings, e.g. `swap(probability=0.25)`; what restricts nothing is left unsaid."""
        said = [f"{k}={_short(v)}" for k, v in self.settings().items() if v is not False and v != ALL_ROWS]
        return f"{self.name}({', '.join(said + self.details(given))})"

    def details(self, given: Given) -> list[str]:
        """Returns what `text` says besides the settings."""
        return []

    def in_every_row(self) -> Augmentation:
        """Returns it as each row shows it, for `seit show --augment`."""
        return dataclasses.replace(self, probability=1.0) if hasattr(self, "probability") else self  # type: ignore


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class OnImages(Augmentation):
    """Changes a decoded image in the loading path; of pixel runs alone, and not run by the pipeline."""

    inputs = ("pixels",)

    @abstractmethod
    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Maps an image uint8 [H, W, 3] to one; `seed` is drawn for the row, the only source of chance."""


class OnIds(Augmentation):
    """Changes ids before they are looked up; images of a pixel run pass through it too where it says so."""

    @abstractmethod
    def __call__(self, ids: Tensor, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] int64 to ids of that shape; never in place."""


class Crop(Augmentation):
    """Looks ids up and brings them to the model's input side; a recipe has one, or none for the centre crop."""

    @abstractmethod
    def __call__(self, inputs: Tensor, table: Tensor | None, draws: Draws, given: Given) -> Tensor:
        """Maps ids [B, h, w] by table [K, d], or vectors [B, d, h, w] without one, to vectors [B, d, m, m].

        The result is new memory in channels_last order.
        """


class OnVectors(Augmentation):
    """Changes vectors, and targets with them where rows are mixed."""

    @abstractmethod
    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, given: Given) -> tuple[Tensor, Tensor]:
        """Maps vectors [B, d, m, m] and targets [B, C] to the same; may overwrite both."""


STAGES = (OnImages, OnIds, Crop, OnVectors)
"""In the data's order."""
