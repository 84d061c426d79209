"""The loop learns, in ids and in pixels; what it writes can be gone on with; what it cannot learn it says."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import (
    CODEBOOK,
    RECIPE,
    Killed,
    Toy,
    Watch,
    assert_equal,
    assert_same_lines,
    killed,
    run_in,
    trained,
    training_of,
)

from seit.augment.cutmix import CutMix
from seit.errors import RecipeError, RunError
from seit.evaluation import Accuracy, MeanPrecision
from seit.run import Run
from seit.training import fit
from seit.training.state import checkpoints

NONE = Watch(lambda _: {})


@pytest.mark.parametrize("pixels", [False, True], ids=["ids", "pixels"])
def test_a_plainly_separable_set_is_learned(pixels, tmp_path, caplog):
    grid = (32, 32) if pixels else (8, 8)
    rows, held = Toy(96, grid, pixels), Toy(48, grid, pixels, seed=1)
    _, values = trained(rows, RECIPE, tmp_path, Accuracy(held, held.classes))
    assert values["top1"] > 0.95
    lines = Run(tmp_path).lines()
    assert [line["step"] for line in lines] == [6, 12, 18, 24, 30, 36]
    assert lines[-1]["loss"] < 0.3 < lines[0]["loss"]
    assert 0 <= values["data_wait_share"] <= 1
    assert "of guessing" not in caplog.text


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "lion"])
def test_a_checkpoint_goes_on_to_the_same_weights_with_any_optimizer(optimizer, tmp_path):
    recipe = replace(RECIPE, epochs=3, optimizer=optimizer, learned=True, augment=(CutMix(0.5),))
    rows = Toy(40)
    whole, _ = trained(rows, recipe, tmp_path / "whole")
    with pytest.raises(Killed):  # in the last evaluation: all steps are made, one line is missing
        trained(rows, recipe, tmp_path / "cut", killed(rows, 3))
    names = [path.name for path in checkpoints(Run(tmp_path / "cut"))]
    assert names == ["000000006.safetensors", "000000005.safetensors"]
    again, _ = trained(rows, recipe, tmp_path / "cut")
    assert_equal(whole, again)
    assert_same_lines(tmp_path / "whole", tmp_path / "cut")


def test_rows_train_and_weights_move_only_where_they_should(tmp_path):
    rows = Toy(32)
    fixed, _ = trained(rows, RECIPE, tmp_path / "fixed")
    assert torch.equal(fixed.table, CODEBOOK)
    learned, _ = trained(rows, replace(RECIPE, learned=True), tmp_path / "learned")
    assert not torch.equal(learned.table, CODEBOOK)


def test_an_odd_number_of_rows_below_one_batch_trains(tmp_path):
    recipe = replace(RECIPE, epochs=2, augment=(CutMix(1.0),))
    seen = []
    trained(Toy(7), recipe, tmp_path, Watch(seen.append))
    assert len(seen) == 2


def test_part_of_an_epoch_is_evaluated_at_its_end(tmp_path):
    seen = []
    trained(Toy(64), replace(RECIPE, epochs=1.5, warmup_epochs=0.5), tmp_path, Watch(seen.append))
    assert [line["step"] for line in Run(tmp_path).lines()] == [4, 6]
    assert len(seen) == 2


@pytest.mark.parametrize(("every", "evaluated"), [(2, [4, 8, 10]), (3, [6, 10]), (9, [10])])
def test_evaluations_come_every_so_many_epochs_and_at_the_end(every, evaluated, tmp_path):
    watch = Watch(lambda _: {"top1": 0.5}, every)
    trained(Toy(32), replace(RECIPE, epochs=5), tmp_path, watch)
    lines = Run(tmp_path).lines()
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert [line["step"] for line in lines if "top1" in line] == evaluated


def test_a_loss_that_is_not_finite_is_said_with_step_and_cure(tmp_path):
    rows = Toy(32)
    rows.inputs[rows.inputs == 11] = 10
    rows.inputs[5, 3, 3] = 11
    training = training_of(rows, replace(RECIPE, trunk="test_vit"))
    training.model.table[11] = torch.nan
    with pytest.raises(RunError, match=r"loss became nan at step \d.*1 of 16 rows: 5\).*lower the learning rate"):
        fit(training, run_in(tmp_path))


def test_a_gradient_that_is_not_finite_is_said_and_spoils_no_weight(tmp_path):
    rows = Toy(32)
    training = training_of(rows, RECIPE)
    head = training.model.trunk.get_classifier().weight
    head.register_hook(lambda gradient: gradient * torch.inf)
    before = head.detach().clone()
    with pytest.raises(
        RunError, match=r"the gradient's norm became (nan|inf) at step 0 .*set precision to float32"
    ):
        fit(training, run_in(tmp_path))
    assert torch.equal(head, before)


def test_a_run_that_learned_nothing_says_so(tmp_path, caplog):
    wild = replace(RECIPE, optimizer="sgd", learning_rate=30.0, epochs=2)
    trained(Toy(64), wild, tmp_path)
    assert "above the 1.10 of guessing; lower the learning rate" in caplog.text


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
    measure = MeanPrecision if kind == "multi" else Accuracy
    _, values = trained(rows, recipe, tmp_path, measure(held, held.classes))
    assert values["map" if kind == "multi" else "top1"] > 0.9


def test_rows_of_several_classes_have_no_cross_entropy(tmp_path):
    rows, recipe = Kinds(32, "multi"), replace(RECIPE, loss="cross-entropy")
    with pytest.raises(RecipeError, match="loss: rows of several classes have no cross-entropy; set it to bce"):
        trained(rows, recipe, tmp_path)


class Views(Toy):
    """Rows of which three in a row show one image."""

    views = 3


def test_an_epoch_over_images_takes_one_view_of_each(tmp_path):
    rows = Views(96)
    asked = []
    batch = rows.batch
    rows.batch = lambda indices: (asked.append(list(indices)), batch(indices))[1]
    recipe = replace(RECIPE, epochs=2, one_view=True, warmup_epochs=0)
    trained(rows, recipe, tmp_path, NONE)
    epochs = [sorted([*first, *second]) for first, second in (asked[:2], asked[2:4])]
    for found in epochs:
        assert [row // 3 for row in found] == list(range(32))
    assert epochs[0] != epochs[1]


def test_layer_decay_slows_the_first_layers(tmp_path):
    moved = {}
    for name, decay in (("even", 1.0), ("decayed", 0.5)):
        recipe = replace(RECIPE, trunk="test_vit", layer_decay=decay, epochs=1, warmup_epochs=0)
        start = training_of(Toy(48), recipe).model
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
    start = training_of(rows, recipe).model
    model, _ = trained(rows, recipe, tmp_path)
    pairs = zip(start.parameters(), model.parameters(), strict=True)
    norm = torch.cat([(mine - theirs).detach().flatten() for mine, theirs in pairs]).norm()
    assert norm.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_a_compiled_network_gives_the_same_weights(tmp_path, monkeypatch):
    # Traced and called as compiled networks are, but without the minutes that generating code takes.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    rows, recipe = Toy(40), replace(RECIPE, epochs=1, trunk="test_vit", drop_path=0.3, warmup_epochs=0)
    plain, _ = trained(rows, recipe, tmp_path / "plain")
    compiled, _ = trained(rows, replace(recipe, compile=True), tmp_path / "compiled")
    assert [*compiled.state_dict()] == [*plain.state_dict()]
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, compiled.state_dict()[key], atol=1e-5), key
