"""The loop learns, in ids and in pixels; what it writes can be gone on with; what it cannot learn it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from seit.augment import Pipeline
from seit.augment.cutmix import CutMix
from seit.errors import RunError
from seit.evaluation import accuracy
from seit.models import build
from seit.training import Recipe, fit
from seit.training.loop import Plan
from seit.training.state import checkpoints


class Toy:
    """Rows whose class is plain to see: ids (or pixels) of class c are c plus noise."""

    views, classes = 1, ["a", "b", "c"]

    def __init__(self, n, grid=(8, 8), pixels=False, seed=0):
        rng = np.random.default_rng(seed)
        self.grid, self.labels = grid, rng.integers(0, 3, n)
        noise = rng.integers(0, 4, (n, *grid))
        self.inputs = self.labels[:, None, None] * 4 + noise
        if pixels:
            self.inputs = (self.inputs[:, None].repeat(3, 1) / 6 - 1).astype(np.float32)

    def __len__(self):
        return len(self.labels)

    def batch(self, indices):
        return self.inputs[indices], self.labels[indices]


RECIPE = Recipe(epochs=6, batch_size=16, precision="float32", smoothing=0.0, warmup_epochs=1)
CODEBOOK = torch.linspace(-1, 1, 12)[:, None] * torch.ones(12, 4)


def prepared(rows, recipe):
    """Returns a fresh model and its augmentations."""
    torch.manual_seed(recipe.seed)
    pixels = rows.inputs.ndim == 4
    if pixels:
        model = build("mini_resnet", "patch4", 3, rows.grid, 3)
    else:
        options = {"learned": recipe.learned, "drop_path": recipe.drop_path}
        model = build(recipe.trunk, "conv3", 4, rows.grid, 3, codebook=CODEBOOK, **options)
    augment = Pipeline(
        recipe.augment, rows.grid, model.input_grid, 3, codebook=model.table, view=model.view_grid, smoothing=0.0
    )
    return model, augment


def trained(rows, recipe, folder, held=None, evaluations=None):
    """Trains on rows; returns (model, values)."""
    model, augment = prepared(rows, recipe)

    def evaluate(classifier):
        classifier.eval()
        found = accuracy(lambda x: classifier(classifier.prepare(x)), held or rows, rows.classes, silent=True)
        if evaluations is not None:
            evaluations.append(found["top1"])
        return {"top1": found["top1"]}

    values = fit(model, augment, rows, recipe, folder, evaluate)
    return model, values


@pytest.mark.parametrize("pixels", [False, True], ids=["ids", "pixels"])
def test_a_plainly_separable_set_is_learned(pixels, tmp_path):
    grid = (32, 32) if pixels else (8, 8)
    rows, held = Toy(96, grid, pixels), Toy(48, grid, pixels, seed=1)
    _, values = trained(rows, RECIPE, tmp_path, held)
    assert values["top1"] > 0.95
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6, 12, 18, 24, 30, 36]
    assert lines[-1]["loss"] < 0.3 < lines[0]["loss"]
    assert 0 <= values["data_wait_share"] <= 1


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "lion"])
def test_a_checkpoint_goes_on_to_the_same_weights_with_any_optimizer(optimizer, tmp_path):
    recipe = replace(RECIPE, epochs=3, optimizer=optimizer, learned=True, augment=(CutMix(0.5),))
    rows = Toy(40)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, _ = trained(rows, recipe, tmp_path / "whole")

    model, augment = prepared(rows, recipe)
    calls = []

    def stops(classifier):
        calls.append(1)
        if len(calls) == 3:  # after the last epoch, before its line and its snapshot
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        fit(model, augment, rows, recipe, tmp_path / "cut", stops)
    assert [path.name for path in checkpoints(tmp_path / "cut")] == [
        "000000004.safetensors",
        "000000002.safetensors",
    ]
    again, _ = trained(rows, recipe, tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_rows_train_and_weights_move_only_where_they_should(tmp_path):
    rows = Toy(32)
    fixed, _ = trained(rows, RECIPE, tmp_path)
    assert torch.equal(fixed.table, CODEBOOK)
    (tmp_path / "learned").mkdir()
    learned, _ = trained(rows, Recipe.from_json(RECIPE.to_json() | {"learned": True}), tmp_path / "learned")
    assert not torch.equal(learned.table, CODEBOOK)


def test_an_odd_number_of_rows_below_one_batch_trains(tmp_path):
    recipe = replace(RECIPE, epochs=2, augment=(CutMix(1.0),))
    evaluations = []
    trained(Toy(7), recipe, tmp_path, evaluations=evaluations)
    assert len(evaluations) == 2


def test_part_of_an_epoch_is_evaluated_at_its_end(tmp_path):
    recipe = Recipe.from_json(RECIPE.to_json() | {"epochs": 1.5, "warmup_epochs": 0.5})
    rows = Toy(64)
    evaluations = []
    trained(rows, recipe, tmp_path, evaluations=evaluations)
    assert Plan.of(recipe, 64).steps == 6
    assert len(evaluations) == 2


def test_a_loss_that_is_not_finite_is_said_with_step_and_cure(tmp_path):
    rows = Toy(32, (32, 32), pixels=True)
    rows.inputs[5] = np.nan
    with pytest.raises(RunError, match=r"loss became nan at step \d.*1 of 16 rows: 5\).*lower the learning rate"):
        trained(rows, RECIPE, tmp_path)


def test_rows_without_a_label_are_refused(tmp_path):
    rows = Toy(32)
    rows.labels[3] = -1
    with pytest.raises(RunError, match="not every row has a label"):
        trained(rows, RECIPE, tmp_path)
