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
from typing import Any

from timm.optim import list_optimizers

from seit.augment import Augmentation, Crop, kind, kinds
from seit.augment.normalise import NORMALISATIONS
from seit.errors import RecipeError, nearest_names
from seit.images.view import RESIZES
from seit.models.classifier import POOLS
from seit.objectives.losses import LOSSES
from seit.training.settings import from_text, from_values

INPUTS = ("ids", "pixels")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "constant")
_WORDS = {
    "input": INPUTS,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "resize": RESIZES,
    "normalise": tuple(NORMALISATIONS),
    "pool": POOLS,
}
_POSITIVE = ("epochs", "batch_size", "learning_rate", "pixel_size", "repeats", "eval_every", "log_every")
_NOT_NEGATIVE = (
    "weight_decay",
    "warmup_epochs",
    "learning_rate_batch",
    "final_learning_rate",
    "clip",
    "micro_batch",
)
_BELOW_ONE = ("drop_path", "ema")


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
        micro_batch: most rows that go through the network of one process at once, 0 for its whole part of the
            batch; their gradients are added up. Even, because rows are mixed in pairs.
        loss: "cross-entropy", "bce", or "auto": bce for rows of several classes.
        optimizer: a name that timm knows.
        learning_rate: its peak, for a batch of `learning_rate_batch` rows.
        learning_rate_batch: the peak of another batch is in proportion; 0 leaves it the same for every batch.
        schedule: "cosine" or "constant", after the warm-up.
        weight_decay: not applied to biases, norms and the table.
        layer_decay: learning rate of each layer over that of the next one.
        warmup_epochs: linear, from 0.
        final_learning_rate: where the cosine ends, whatever the batch.
        clip: largest gradient norm, 0 for none.
        ema: decay of the average of the weights that is evaluated and saved in their place, 0 for none.
        seed: of weights, order and augmentation.
        precision: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device has it in hardware.
        compile: make the network faster by `torch.compile`, which takes minutes once.
        augment: settings of each augmentation, at most one of a name; `seit.augment.Pipeline` puts them in order.
        smoothing: label smoothing.
        eval_every: epochs from one evaluation to the next; there is one at the end in any case.
        log_every: steps from one line of loss, gradient norm and speed to the next.
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
    learning_rate_batch: int = 0
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
    eval_every: int = 1
    log_every: int = 50

    def __post_init__(self) -> None:
        words = _WORDS | {"optimizer": tuple(map(str, list_optimizers()))}
        for name, known in words.items():
            value = getattr(self, name)
            if value not in known:
                raise RecipeError(f"there is no {name} {value!r}", name, nearest_names(str(value), known))
        for names, fits, cure in (
            (_POSITIVE, lambda number: 0 < number < math.inf, "give a positive number"),
            (_NOT_NEGATIVE, lambda number: 0 <= number < math.inf, "give 0 or more"),
            (_BELOW_ONE, lambda number: 0 <= number < 1, "choose a value from 0 to below 1"),
            (("layer_decay",), lambda number: 0 < number <= 1, "choose a value in (0, 1]"),
        ):
            for name in names:
                if not fits(getattr(self, name)):
                    raise RecipeError(f"{getattr(self, name)} is out of range", name, cure)
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        """Refuses fields that contradict each other, by the name of the one to change."""
        final, peak, pixels = self.final_learning_rate, self.peak(self.batch_size), self.input == "pixels"
        for wrong, name, what, cure in (
            (
                self.warmup_epochs >= self.epochs,
                "warmup_epochs",
                f"{self.warmup_epochs} warm-up epochs of {self.epochs}",
                "let it be below epochs",
            ),
            (
                final > peak,
                "final_learning_rate",
                f"{final} is above the peak of {peak:g}",
                "let it be at most the peak",
            ),
            (
                final > 0 and self.schedule == "constant",
                "final_learning_rate",
                "a constant learning rate does not end elsewhere",
                "set it to 0",
            ),
            (
                self.micro_batch % 2 == 1,
                "micro_batch",
                f"{self.micro_batch} is odd",
                "rows are mixed in pairs: give an even number",
            ),
            (
                self.micro_batch > self.batch_size,
                "micro_batch",
                f"{self.micro_batch} rows at once of a batch of {self.batch_size}",
                "let it be at most batch_size",
            ),
            (
                self.repeats > 1 and 2 * self.repeats > self.batch_size,
                "repeats",
                f"{self.repeats} views of an image in a batch of {self.batch_size}",
                "let a batch hold two images at least",
            ),
            (pixels and self.learned, "learned", "is for ids, and the recipe's input is pixels", "set it to false"),
        ):
            if wrong:
                raise RecipeError(what, name, cure)

    def peak(self, batch_size: int) -> float:
        """Returns the highest learning rate of steps of so many rows."""
        return self.learning_rate * (batch_size / self.learning_rate_batch if self.learning_rate_batch else 1)

    def with_settings(self, settings: Mapping[str, str]) -> Recipe:
        """Returns the recipe with some fields set from text, as `--set key=value` gives them.

        Raises:
            RecipeError: there is no such field (near misses named), or a value has another type.
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
                chosen[name] = from_text(Recipe, name, settings[name], f"--set {name}")
        # At once: fewer epochs with a shorter warm-up are no contradiction, one of them alone may be.
        return replace(recipe, **chosen)

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as plain JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["augment"] = [{"name": one.name, **one.settings()} for one in self.augment]
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """Reads what `to_json` gave, also in an earlier version: fields that it lacks have their defaults.

        Raises:
            RecipeError: there are unknown fields or augmentations, or values of another type.
        """
        augment = []
        for described in values.get("augment", []):
            augmentation = kind(described["name"], "recipe augment")
            settings = {name: value for name, value in described.items() if name != "name"}
            augment.append(from_values(augmentation, settings, f"recipe {augmentation.name}"))
        plain = {name: value for name, value in values.items() if name != "augment"}
        return replace(from_values(cls, plain, "recipe"), augment=tuple(augment))

    def differences(self, recorded: Mapping[str, Any]) -> set[str]:
        """Returns the fields in which a recipe that was recorded, maybe by another version, is not this one.

        A field that it lacks has its default; one that this version does not know differs.
        """
        unknown = recorded.keys() - {field.name for field in fields(self)}
        known = {name: value for name, value in recorded.items() if name not in unknown}
        try:
            mine, theirs = self.to_json(), Recipe.from_json(known).to_json()
        except RecipeError as error:  # an augmentation or a value that this version does not know
            return unknown | {error.where}
        return unknown | {name for name in mine if mine[name] != theirs[name]}


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
    changed = replace(before, **{name: from_text(type(before), name, text, where)})  # type: ignore[type-var]
    if here:
        return tuple(changed if one is here[0] else one for one in augment)
    # A recipe has one crop: a new one takes the place of the other.
    return (*(one for one in augment if not (isinstance(one, Crop) and isinstance(changed, Crop))), changed)
