"""A recipe: every choice of a training run but its data. One recipe of the paper is one file in `seit.recipes`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from timm.optim import list_optimizers

from seit.errors import RecipeError, nearest_names

INPUTS = ("ids", "pixels")
PRECISIONS = ("auto", "float32", "bfloat16")
_EXAMPLES: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run (paper, Table B.1); augmentation fields are those of `seit.augment.pipeline`.

    Attributes:
        input: "ids" of a token data set, or "pixels" of the images.
        trunk: a name that `seit.models.build` takes.
        stem: likewise; "auto" takes conv3 for grids of at most 8 cells, else conv4, and for pixels the patch that
            gives the trunk as many cells as the ids would.
        pixel_size: side of the view of a pixel run, pixels.
        learned: train the table of vectors too.
        drop_path: stochastic depth.
        epochs: passes over the training rows.
        batch_size: rows of one step over all processes.
        optimizer: a name that timm knows.
        learning_rate: its peak.
        weight_decay: not applied to biases, norms and the table.
        warmup_epochs: linear, from 0.
        final_learning_rate: where the cosine ends.
        clip: largest gradient norm, 0 for none.
        seed: of weights, order and augmentation.
        precision: "float32", "bfloat16", or "auto": bfloat16 where the device has it in hardware.
    """

    input: str = "ids"
    trunk: str = "mini_resnet"
    stem: str = "auto"
    pixel_size: int = 256
    learned: bool = False
    drop_path: float = 0.0
    epochs: float = 8.0
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 0.5
    final_learning_rate: float = 0.0
    clip: float = 0.0
    seed: int = 0
    precision: str = "auto"
    synonym: float = 0.0
    swap: float = 0.0
    flip: float = 0.0
    crop: str = "centre"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    cutmix: float = 0.0
    cutmix_alpha: float = 1.0
    mixup: float = 0.0
    mixup_alpha: float = 0.8
    noise: float = 0.0
    noise_std: float = 1.0
    noise_unit: str = "rms"
    smoothing: float = 0.1
    released: bool = False

    def __post_init__(self) -> None:
        optimizers = tuple(map(str, list_optimizers()))
        for name, known in (("input", INPUTS), ("precision", PRECISIONS), ("optimizer", optimizers)):
            value = getattr(self, name)
            if value not in known:
                raise RecipeError(f"there is no {name} {value!r}", name, nearest_names(str(value), known))
        for name in ("epochs", "batch_size", "learning_rate", "pixel_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeError(f"{getattr(self, name)} is not positive", name, "give a positive number")
        for name in ("weight_decay", "warmup_epochs", "final_learning_rate", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"{getattr(self, name)} is negative", name, "give 0 or more")
        if not 0 <= self.drop_path < 1:
            raise RecipeError(f"a probability of {self.drop_path}", "drop_path", "choose a value from 0 to below 1")
        if self.warmup_epochs >= self.epochs:
            raise RecipeError(
                f"{self.warmup_epochs} warm-up epochs of {self.epochs}", "warmup_epochs", "let it be below epochs"
            )

    def with_settings(self, settings: Mapping[str, str]) -> Recipe:
        """Returns the recipe with some fields set from text, as `--set key=value` gives them.

        Raises:
            RecipeError: no such field (near misses named), or a value of another type.
        """
        hints = get_type_hints(Recipe)
        changed: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in hints:
                raise RecipeError(f"there is no setting {name!r}", "--set", nearest_names(name, hints))
            try:
                changed[name] = _parsed(text, hints[name])
            except (ValueError, TypeError) as error:
                kind = _EXAMPLES.get(hints[name], "a pair of numbers such as [0.08, 1.0]")
                raise RecipeError(f"{text!r} is not {kind}", f"--set {name}", f"give {kind}") from error
        return replace(self, **changed)

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as plain JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """Reads what `to_json` gave.

        Raises:
            RecipeError: unknown fields.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise RecipeError(f"there is no setting {name!r}", "recipe", nearest_names(name, known))
        typed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**typed)


def _parsed(text: str, kind: Any) -> Any:
    """Returns the value of type `kind` that `text` stands for; raises ValueError or TypeError if it is none."""
    if kind is str:
        return text
    value = json.loads(text.lower())
    if kind is float:
        value = float(value) if type(value) is int else value
    elif kind not in (int, bool):
        low, high = value
        return float(low), float(high)
    if type(value) is not kind:
        raise TypeError
    return value
