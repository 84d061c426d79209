"""A recipe: every choice of a training run but its data. One recipe of the paper is one file in `seit.recipes`.

In text (`--set`) and in JSON augmentations go by their files' names:

    --set noise.std=0.1                     a setting of one; an augmentation that the recipe lacks is added
    --set cutmix.probability=0              which leaves it out
    --set augment=random_crop,cutmix        these alone, each as the recipe has it, else with its own defaults
    "augment": [{"name": "noise", "probability": 0.5, "std": 0.1}]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from timm.optim import list_optimizers

from seit.augment import Augmentation, Crop, kind, kinds
from seit.augment.normalise import NORMALISATIONS
from seit.errors import RecipeError, nearest_names
from seit.images.view import RESIZES
from seit.models.classifier import POOLS
from seit.training.losses import LOSSES

INPUTS = ("ids", "pixels")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "constant")
_EXAMPLES: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run (paper, Table B.1).

    Attributes:
        input: "ids" of a token data set, or "pixels" of the images.
        trunk: a name that `seit.models.build` takes.
        stem: likewise; "auto" takes conv3 for grids of at most 8 cells, else conv4, and for pixels the patch that
            gives the trunk as many cells as the ids would.
        pixel_size: side of the view of a pixel run, pixels.
        resize: how a picture becomes that view, "squash" or "crop" (see `seit.images.to_view`).
        normalise: the scale of its pixels, "half" (to [-1, 1]) or "imagenet" (its mean and deviation).
        pool: what a ViT classifies from: "mean" of its cells, "token", or "auto": the mean for ids, the class token
            for pixels.
        learned: train the table of vectors too.
        drop_path: stochastic depth.
        epochs: passes over the training rows.
        one_view: an epoch visits each image once, in one of its views, instead of all its rows.
        repeats: repeated augmentation: a batch holds so many views of each of its images, and an epoch so many
            fewer images.
        batch_size: rows of one step over all processes.
        micro_batch: rows that go through the network of one process at once, 0 for its whole part of the batch;
            their gradients are added up. Even, because rows are mixed in pairs.
        loss: "cross-entropy", "bce", or "auto": bce for rows of several classes.
        optimizer: a name that timm knows.
        learning_rate: its peak.
        schedule: "cosine" or "constant", after the warm-up.
        weight_decay: not applied to biases, norms and the table.
        layer_decay: learning rate of each layer over that of the next one.
        warmup_epochs: linear, from 0.
        final_learning_rate: where the cosine ends.
        clip: largest gradient norm, 0 for none.
        ema: decay of the average of the weights that is evaluated and saved in their place, 0 for none.
        seed: of weights, order and augmentation.
        precision: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device has it in hardware.
        compile: make the network faster by `torch.compile`, which takes minutes once.
        augment: settings of each augmentation, at most one of a name; `seit.augment.Pipeline` puts them in order.
        smoothing: label smoothing.
    """

    input: str = "ids"
    trunk: str = "mini_resnet"
    stem: str = "auto"
    pixel_size: int = 256
    resize: str = "squash"
    normalise: str = "half"
    pool: str = "auto"
    learned: bool = False
    drop_path: float = 0.0
    epochs: float = 8.0
    one_view: bool = False
    repeats: int = 1
    batch_size: int = 128
    micro_batch: int = 0
    loss: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    schedule: str = "cosine"
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup_epochs: float = 0.5
    final_learning_rate: float = 0.0
    clip: float = 0.0
    ema: float = 0.0
    seed: int = 0
    precision: str = "auto"
    compile: bool = False
    augment: tuple[Augmentation, ...] = ()
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        names = {
            "input": INPUTS,
            "precision": PRECISIONS,
            "schedule": SCHEDULES,
            "loss": LOSSES,
            "resize": RESIZES,
            "normalise": tuple(NORMALISATIONS),
            "pool": POOLS,
            "optimizer": tuple(map(str, list_optimizers())),
        }
        for name, known in names.items():
            value = getattr(self, name)
            if value not in known:
                raise RecipeError(f"there is no {name} {value!r}", name, nearest_names(str(value), known))
        for name in ("epochs", "batch_size", "learning_rate", "pixel_size", "repeats"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeError(f"{getattr(self, name)} is not positive", name, "give a positive number")
        for name in ("weight_decay", "warmup_epochs", "final_learning_rate", "clip", "micro_batch"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"{getattr(self, name)} is negative", name, "give 0 or more")
        for name in ("drop_path", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"{getattr(self, name)} is no share", name, "choose a value from 0 to below 1")
        if not 0 < self.layer_decay <= 1:
            raise RecipeError(f"{self.layer_decay} is no share", "layer_decay", "choose a value in (0, 1]")
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        """Refuses fields that contradict each other, by the name of the one to change."""
        if self.warmup_epochs >= self.epochs:
            raise RecipeError(
                f"{self.warmup_epochs} warm-up epochs of {self.epochs}", "warmup_epochs", "let it be below epochs"
            )
        if self.final_learning_rate > self.learning_rate:
            raise RecipeError(
                f"{self.final_learning_rate} is above the peak of {self.learning_rate}",
                "final_learning_rate",
                "let it be at most learning_rate",
            )
        if self.final_learning_rate and self.schedule == "constant":
            raise RecipeError("a constant learning rate ends nowhere else", "final_learning_rate", "set it to 0")
        if self.micro_batch % 2:
            raise RecipeError(
                f"{self.micro_batch} is odd", "micro_batch", "rows are mixed in pairs: give an even number"
            )
        if self.micro_batch > self.batch_size:
            raise RecipeError(
                f"{self.micro_batch} rows at once of a batch of {self.batch_size}",
                "micro_batch",
                "let it be at most batch_size",
            )
        if 2 * self.repeats > self.batch_size and self.repeats > 1:
            raise RecipeError(
                f"{self.repeats} views of an image in a batch of {self.batch_size}",
                "repeats",
                "let a batch hold two images at least",
            )
        if self.input == "pixels" and self.learned:
            raise RecipeError("is for ids, and the recipe's input is pixels", "learned", "set it to false")

    def with_settings(self, settings: Mapping[str, str]) -> Recipe:
        """Returns the recipe with some fields set from text, as `--set key=value` gives them.

        Raises:
            RecipeError: no such field (near misses named), or a value of another type.
        """
        recipe, chosen = self, {}
        for name in sorted(settings, key=lambda name: name != "augment"):  # which ones, before their settings
            owner, dot, inner = name.partition(".")
            if dot:
                recipe = replace(recipe, augment=_with_setting(recipe.augment, owner, inner, settings[name]))
            elif name == "augment":
                recipe = replace(recipe, augment=_chosen(recipe.augment, settings[name]))
            elif name in kinds():
                inner = " or ".join(f"{name}.{field.name}" for field in fields(kind(name, "--set")))  # type: ignore
                cure = f"set {inner}" if inner else f"it has no settings: name it in --set augment={name},..."
                raise RecipeError(f"{name} is an augmentation", f"--set {name}", cure)
            else:
                chosen[name] = _value(recipe, name, settings[name], f"--set {name}")
        # At once: fewer epochs with a shorter warm-up are no contradiction, one of them alone may be.
        return replace(recipe, **chosen)

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as plain JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["augment"] = [{"name": one.name, **one.settings()} for one in self.augment]
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """Reads what `to_json` gave.

        Raises:
            RecipeError: unknown fields or augmentations.
        """
        augment = []
        for described in values.get("augment", []):
            found = kind(described["name"], "recipe augment")
            settings = {name: value for name, value in described.items() if name != "name"}
            augment.append(_typed(found, settings, f"recipe {found.name}"))
        return _typed(cls, {**values, "augment": augment}, "recipe")


def _typed(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Returns the `kind` with these fields, lists made tuples."""
    known = [field.name for field in fields(kind)]
    for name in values:
        if name not in known:
            raise RecipeError(f"there is no setting {name!r}", where, nearest_names(name, known))
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _chosen(augment: tuple[Augmentation, ...], text: str) -> tuple[Augmentation, ...]:
    """Returns the augmentations that `text` names, as they are in `augment` or with their defaults."""
    here = {one.name: one for one in augment}
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(here.get(name) or kind(name, "--set augment")() for name in names)


def _with_setting(augment: tuple[Augmentation, ...], owner: str, name: str, text: str) -> tuple[Augmentation, ...]:
    """Returns `augment` with one setting of augmentation `owner` changed, which is added if it is not there."""
    where = f"--set {owner}.{name}"
    here = [one for one in augment if one.name == owner]
    before = here[0] if here else kind(owner, where)()
    added = replace(before, **{name: _value(before, name, text, where)})  # type: ignore[type-var]
    if here:
        return tuple(added if one is here[0] else one for one in augment)
    # There is but one crop: another takes its place.
    return (*(one for one in augment if not (isinstance(one, Crop) and isinstance(added, Crop))), added)


def _value(owner: Any, name: str, text: str, where: str) -> Any:
    """Returns the value of a field of the dataclass `owner` that `text` stands for."""
    known = {field.name for field in fields(owner)}
    if name not in known:
        raise RecipeError(f"there is no setting {name!r}", where, nearest_names(name, known))
    hint = get_type_hints(type(owner))[name]
    try:
        return _parsed(text, hint)
    except (ValueError, TypeError) as error:
        kind_of_it = _EXAMPLES.get(hint, "a pair of numbers such as [0.08, 1.0]")
        raise RecipeError(f"{text!r} is not {kind_of_it}", where, f"give {kind_of_it}") from error


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
