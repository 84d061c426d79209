"""The loop learns, in ids and in pixels; what it writes can be gone on with; what it cannot learn it says."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_rows import MemoryRows
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy

from seit.augment import Pipeline
from seit.augment.cutmix import CutMix
from seit.errors import RecipeError, RunError
from seit.evaluation import accuracy, mean_average_precision
from seit.models import build
from seit.training import Recipe, fit
from seit.training.loop import Plan
from seit.training.losses import row_losses
from seit.training.state import checkpoints


class Toy(MemoryRows):
    """Rows whose class is plain to see: ids (or pixels) of class c are c plus noise."""

    def __init__(self, n, grid=(8, 8), pixels=False, seed=0):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, n)
        inputs = labels[:, None, None] * 4 + rng.integers(0, 4, (n, *grid))
        if pixels:
            inputs = (inputs[:, None].repeat(3, 1) * 20).astype(np.uint8)
        super().__init__(inputs, labels, ["a", "b", "c"])


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
        recipe.augment,
        rows.grid,
        model.input_grid,
        3,
        codebook=model.table,
        normalise=model.normalise,
        view=model.view_grid,
        smoothing=0.0,
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
def test_a_plainly_separable_set_is_learned(pixels, tmp_path, caplog):
    grid = (32, 32) if pixels else (8, 8)
    rows, held = Toy(96, grid, pixels), Toy(48, grid, pixels, seed=1)
    _, values = trained(rows, RECIPE, tmp_path, held)
    assert values["top1"] > 0.95
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6, 12, 18, 24, 30, 36]
    assert lines[-1]["loss"] < 0.3 < lines[0]["loss"]
    assert 0 <= values["data_wait_share"] <= 1
    assert "of guessing" not in caplog.text


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
    rows, recipe = Toy(32), replace(RECIPE, trunk="test_vit")
    rows.inputs[rows.inputs == 11] = 10
    rows.inputs[5, 3, 3] = 11
    model, augment = prepared(rows, recipe)
    model.table[11] = torch.nan
    with pytest.raises(RunError, match=r"loss became nan at step \d.*1 of 16 rows: 5\).*lower the learning rate"):
        fit(model, augment, rows, recipe, tmp_path, lambda _: {})


def test_a_gradient_that_is_not_finite_is_said_and_spoils_no_weight(tmp_path):
    rows = Toy(32)
    model, augment = prepared(rows, RECIPE)
    head = model.trunk.get_classifier().weight
    head.register_hook(lambda gradient: gradient * torch.inf)
    before = head.detach().clone()
    with pytest.raises(
        RunError, match=r"the gradient's norm became (nan|inf) at step 0 .*set precision to float32"
    ):
        fit(model, augment, rows, RECIPE, tmp_path, lambda _: {})
    assert torch.equal(head, before)


def test_rows_without_a_label_are_refused(tmp_path):
    rows = Toy(32)
    rows.labels[3] = -1
    with pytest.raises(RunError, match="not every row has a label"):
        trained(rows, RECIPE, tmp_path)


def test_a_run_that_learned_nothing_says_so(tmp_path, caplog):
    wild = replace(RECIPE, optimizer="sgd", learning_rate=30.0, epochs=2)
    trained(Toy(64), wild, tmp_path)
    assert "above the 1.10 of guessing among 3 classes; lower the learning rate" in caplog.text


class Kinds(Toy):
    """The same rows with labels of another kind."""

    def __init__(self, n, kind, seed=0):
        super().__init__(n, seed=seed)
        one = np.eye(3)[self.labels]
        self.several = one.astype(bool) if kind == "multi" else (one * 0.8 + 0.1).astype(np.float32)
        if kind == "multi":
            self.several[:, 2] |= self.labels == 0  # class a is always a c, too

    def batch(self, indices):
        return self.inputs[indices], self.several[indices]


@pytest.mark.parametrize(("kind", "loss"), [("multi", "auto"), ("soft", "auto"), ("soft", "bce")])
def test_rows_of_several_classes_and_of_shares_are_learned(kind, loss, tmp_path):
    recipe = replace(RECIPE, loss=loss, augment=(CutMix(0.3),))
    rows, held = Kinds(64, kind), Kinds(48, kind, seed=1)
    model, augment = prepared(rows, recipe)
    fit(model, augment, rows, recipe, tmp_path, lambda _: {})
    model.eval()
    measure = mean_average_precision if kind == "multi" else accuracy
    with torch.no_grad():
        found = measure(lambda x: model(model.prepare(x)), held, held.classes)
    assert found["map" if kind == "multi" else "top1"] > 0.9


def test_rows_of_several_classes_have_no_cross_entropy(tmp_path):
    rows, recipe = Kinds(32, "multi"), replace(RECIPE, loss="cross-entropy")
    with pytest.raises(RecipeError, match="loss: rows of several classes have no cross-entropy; set it to bce"):
        trained(rows, recipe, tmp_path)


def test_the_losses_are_timms():
    logits, targets = torch.randn(5, 7) * 3, torch.rand(5, 7)
    assert row_losses("cross-entropy", logits, targets).mean() == pytest.approx(
        SoftTargetCrossEntropy()(logits, targets).item()
    )
    assert row_losses("bce", logits, targets).mean() == pytest.approx(BinaryCrossEntropy()(logits, targets).item())


class Views(Toy):
    """Rows of which three in a row show one image."""

    views = 3


def test_an_epoch_over_images_takes_one_view_of_each(tmp_path):
    rows = Views(96)
    asked = []
    batch = rows.batch
    rows.batch = lambda indices: (asked.append(list(indices)), batch(indices))[1]
    recipe = replace(RECIPE, epochs=2, one_view=True, warmup_epochs=0)
    model, augment = prepared(rows, recipe)
    fit(model, augment, rows, recipe, tmp_path, lambda _: {})
    epochs = [sorted([*first, *second]) for first, second in (asked[:2], asked[2:4])]
    for found in epochs:
        assert [row // 3 for row in found] == list(range(32))
    assert epochs[0] != epochs[1]


def test_layer_decay_slows_the_first_layers(tmp_path):
    (tmp_path / "even").mkdir()
    (tmp_path / "decayed").mkdir()
    moved = {}
    for name, decay in (("even", 1.0), ("decayed", 0.5)):
        recipe = replace(RECIPE, trunk="test_vit", layer_decay=decay, epochs=1, warmup_epochs=0)
        start, _ = prepared(Toy(48), recipe)
        before = {key: value.clone() for key, value in start.state_dict().items()}
        model, _ = trained(Toy(48), recipe, tmp_path / name)
        after = model.state_dict()
        keys = ("trunk.patch_embed.proj.weight", "trunk.head.weight")
        moved[name] = [float((after[key] - before[key]).abs().mean()) for key in keys]
    assert moved["decayed"][0] < 0.1 * moved["even"][0]
    assert moved["decayed"][1] > 0.5 * moved["even"][1]


def test_gradients_are_clipped_to_their_bound(tmp_path):
    # Plain gradient descent for one step: the weights move by rate x gradient, whose norm is the bound.
    recipe = replace(
        RECIPE, optimizer="momentum", learning_rate=0.1, clip=1e-3, weight_decay=0.0, epochs=1, warmup_epochs=0
    )
    rows = Toy(16)
    start, _ = prepared(rows, recipe)
    model, _ = trained(rows, recipe, tmp_path)
    pairs = zip(start.parameters(), model.parameters(), strict=True)
    norm = torch.cat([(mine - theirs).detach().flatten() for mine, theirs in pairs]).norm()
    assert norm.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_a_compiled_network_gives_the_same_weights(tmp_path, monkeypatch):
    # Traced and called as compiled networks are, but without the minutes that generating code takes.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    rows, recipe = Toy(40), replace(RECIPE, epochs=1, trunk="test_vit", drop_path=0.3, warmup_epochs=0)
    (tmp_path / "plain").mkdir()
    (tmp_path / "compiled").mkdir()
    plain, _ = trained(rows, recipe, tmp_path / "plain")
    compiled, _ = trained(rows, replace(recipe, compile=True), tmp_path / "compiled")
    assert [*compiled.state_dict()] == [*plain.state_dict()]
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, compiled.state_dict()[key], atol=1e-5), key
