"""Small rows and trainings that several tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory_rows import MemoryRows

sys.path.insert(0, str(Path(__file__).parents[1]))  # for programs that torchrun starts

from seit.augment import Pipeline
from seit.evaluation import Accuracy, Evaluation
from seit.loading import RowFeed
from seit.models import build
from seit.objectives import Classify
from seit.run import Run, untimed
from seit.training import Recipe, Training, fit

RECIPE = Recipe(epochs=6, batch_size=16, precision="float32", smoothing=0.0, warmup_epochs=1)
CODEBOOK = torch.linspace(-1, 1, 12)[:, None] * torch.ones(12, 4)


class Toy(MemoryRows):
    """Rows whose class is plain to see: ids (or pixels) of class c are c plus noise."""

    def __init__(self, n, grid=(8, 8), pixels=False, seed=0):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, n)
        inputs = labels[:, None, None] * 4 + rng.integers(0, 4, (n, *grid))
        if pixels:
            inputs = (inputs[:, None].repeat(3, 1) * 20).astype(np.uint8)
        super().__init__(inputs, labels, ["a", "b", "c"])


class Watch(Evaluation):
    """Calls a function with the model at every evaluation; it returns a dict of values."""

    score = "top1"

    def __init__(self, call: Callable[[Any], dict[str, float] | None], every: int = 1) -> None:
        self.call, self.every = call, every

    def __call__(self, model):
        yield from (self.call(model) or {}).items()


def killed(rows, evaluation: int) -> Watch:
    """Returns an evaluation that raises at its n-th call, as if the process had been killed there."""
    accuracy, calls = Accuracy(rows, rows.classes), []

    def measure(model):
        calls.append(1)
        if len(calls) == evaluation:
            raise Killed
        return dict(accuracy(model))

    return Watch(measure)


class Killed(BaseException):
    """No error that anything catches."""


def training_of(rows, recipe, *evaluations) -> Training:
    """Returns a fresh training of a recipe on toy rows."""
    torch.manual_seed(recipe.seed)
    if rows.inputs.ndim == 4:
        model = build("mini_resnet", "patch4", 3, rows.grid, 3)
    else:
        options = {"learned": recipe.learned, "drop_path": recipe.drop_path}
        model = build(recipe.trunk, "conv3", 4, rows.grid, 3, codebook=CODEBOOK, **options)
    augment = Pipeline(
        recipe.augment,
        rows.grid,
        model.input_grid,
        3,
        codebook=model.table,
        normalise=model.normalise,
        view=model.view_grid,
        smoothing=recipe.smoothing,
    )
    feed = RowFeed(rows, recipe.batch_size, recipe.seed, recipe.one_view, recipe.repeats)
    return Training(recipe, model, Classify(model, augment, recipe.loss), feed, evaluations)


def run_in(folder: Path) -> Run:
    """Returns the run of a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder)


def trained(rows, recipe, folder: Path, *evaluations, device="cpu"):
    """Trains a recipe on rows, by default measuring accuracy on them; returns the model and what `fit` returned."""
    training = training_of(rows, recipe, *(evaluations or [Accuracy(rows, rows.classes)]))
    return training.model, fit(training, run_in(folder), device)


def assert_equal(mine, theirs) -> None:
    """Checks that two models have the same weights, bit for bit."""
    for key, value in mine.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


def lines_of(folder: Path) -> list[dict[str, float]]:
    """Returns all lines of a run's metrics without what differs from call to call."""
    return [untimed(line) for kind in ("epoch", "step") for line in Run(folder).lines(kind)]


def assert_same_lines(mine: Path, theirs: Path) -> None:
    """Checks that two runs wrote the same metrics."""
    assert lines_of(mine) == lines_of(theirs)
