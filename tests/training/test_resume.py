"""What a checkpoint must hold, and what happens when one is damaged or cannot be written."""

from __future__ import annotations

import resource
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from timm.utils import ModelEmaV3
from toys import (
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

from seit import checkpoint
from seit.augment.cutmix import CutMix
from seit.errors import RunError
from seit.run import Run
from seit.training import fit
from seit.training.state import State, checkpoints

KINDS = {
    "average": {"ema": 0.9},
    "float16": {"precision": "float16"},
    "bfloat16": {"precision": "bfloat16"},
    "parts": {"micro_batch": 6, "augment": (CutMix(0.5),)},
    "layer decay": {"layer_decay": 0.7, "trunk": "test_vit", "drop_path": 0.2},
    "repeated": {"repeats": 3, "augment": (CutMix(),)},
}


def stopped(rows, recipe, folder, evaluation):
    """Trains until the n-th evaluation, in which the process is killed."""
    with pytest.raises(Killed):
        trained(rows, recipe, folder, killed(rows, evaluation))


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_ends_in_the_same_bits(kind, tmp_path):
    recipe = replace(RECIPE, epochs=3, log_every=3, **KINDS[kind])
    rows = Toy(40)
    whole, _ = trained(rows, recipe, tmp_path / "whole")
    stopped(rows, recipe, tmp_path / "cut", 3)
    checkpoints(Run(tmp_path / "cut"))[0].unlink()  # as if the kill had come before it
    again, _ = trained(rows, recipe, tmp_path / "cut")
    assert_equal(whole, again)
    assert_same_lines(tmp_path / "whole", tmp_path / "cut")


def test_the_average_of_the_weights_is_what_is_evaluated_and_returned(tmp_path):
    recipe = replace(RECIPE, epochs=2, ema=0.9)
    rows = Toy(64)
    naive, seen = None, []

    def watch(classifier):
        seen.append({key: value.clone() for key, value in classifier.state_dict().items()})

    update = ModelEmaV3.update
    steps = []
    try:
        ModelEmaV3.update = lambda self, model, step: (
            steps.append({k: v.clone() for k, v in model.state_dict().items()}),
            update(self, model, step),
        )
        model, _ = trained(rows, recipe, tmp_path, Watch(watch))
    finally:
        ModelEmaV3.update = update
    for number, weights in enumerate(steps):
        decay = 0.0 if number == 0 else min(0.9, 1 - (1 + number) ** (-2 / 3))
        naive = (
            weights
            if naive is None
            else {
                key: decay * naive[key] + (1 - decay) * value if value.is_floating_point() else value
                for key, value in weights.items()
            }
        )
    assert len(steps) == 8
    for key, value in model.state_dict().items():
        assert torch.allclose(value, naive[key], atol=1e-6), key
        assert torch.equal(value, seen[-1][key]), key


def test_the_best_weights_are_kept_and_named(tmp_path):
    rows, recipe = Toy(48), replace(RECIPE, epochs=3)
    seen = []

    def evaluate(classifier):
        seen.append({key: value.clone() for key, value in classifier.state_dict().items()})
        return {"top1": [0.3, 0.8, 0.5][len(seen) - 1]}

    model, values = trained(rows, recipe, tmp_path, Watch(evaluate))
    assert (values["top1"], values["best_top1"], values["best_step"]) == (0.5, 0.8, 6)
    best = type(model).from_pretrained(str(tmp_path / "best"))
    for key, value in best.state_dict().items():
        assert torch.equal(value, seen[1][key]), key


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "one bit"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_goes_on(damage, tmp_path, caplog):
    rows, recipe = Toy(40), replace(RECIPE, epochs=4)
    whole, _ = trained(rows, recipe, tmp_path / "whole")
    stopped(rows, recipe, tmp_path / "cut", 4)
    newest, _ = checkpoints(Run(tmp_path / "cut"))
    _spoil(newest, damage)
    again, _ = trained(rows, recipe, tmp_path / "cut")
    assert f"{newest}: is not a whole checkpoint" in caplog.text
    assert "going on from the checkpoint before it" in caplog.text
    assert_equal(whole, again)

    # None is left that is good: better to stop than to train anew without a word.
    shutil.rmtree(tmp_path / "cut")
    stopped(rows, recipe, tmp_path / "cut", 2)
    for path in checkpoints(Run(tmp_path / "cut")):
        _spoil(path, damage)
    with pytest.raises(RunError, match=r"is not a whole checkpoint.*remove it to start anew"):
        trained(rows, recipe, tmp_path / "cut")


def _spoil(path, damage):
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>" * 100, "one bit": bytes(whole)}[damage]
    )


@pytest.mark.usefixtures("kept")
def test_the_checkpoint_of_another_recipe_or_model_is_refused(tmp_path):
    rows = Toy(32)
    stopped(rows, RECIPE, tmp_path, 2)
    for other in (replace(RECIPE, seed=1), replace(RECIPE, epochs=5)):  # fewer epochs: some are made already
        with pytest.raises(RunError, match="left by another recipe; choose another --out"):
            trained(rows, other, tmp_path)
    (newest, _), other = checkpoints(Run(tmp_path)), torch.nn.Linear(2, 2)
    about = {"recipe": RECIPE.to_json(), "step": 1}
    checkpoint.save(newest, other, torch.optim.AdamW(other.parameters()), about)
    with pytest.raises(RunError, match="does not fit this training"):
        trained(rows, RECIPE, tmp_path)


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path):
    run = run_in(tmp_path)
    state = State(training_of(Toy(32), RECIPE).model, RECIPE, run)
    state.save()
    (good,) = checkpoints(run)
    state.step = 7
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # files end there, as on a full disk
    try:
        with pytest.raises(RunError, match=r"000000007\.safetensors: cannot be written.*make room on the disk"):
            state.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list((tmp_path / "checkpoints").iterdir()) == [good]
    assert checkpoint.read_about(good)["step"] == 0


def test_bfloat16_computes_in_fewer_bits_and_keeps_the_weights_in_float32(tmp_path):
    ends = {}
    for precision in ("float32", "bfloat16"):
        ends[precision], _ = trained(Toy(40), replace(RECIPE, precision=precision), tmp_path / precision)
    for key, value in ends["float32"].state_dict().items():
        assert ends["bfloat16"].state_dict()[key].dtype == value.dtype
    exact, short = (ends[name].trunk.get_classifier().weight for name in ends)
    assert not torch.equal(exact, short)
    assert torch.allclose(exact, short, atol=0.05)


def test_half_precision_lowers_its_scale_and_stops_only_when_none_is_left(tmp_path):
    rows = Toy(32, (32, 32), pixels=True)
    recipe = replace(RECIPE, precision="float16", epochs=2)
    recipe = replace(recipe, learning_rate=1e-6, clip=1e-6)
    training = training_of(rows, recipe)
    with torch.no_grad():
        training.model.trunk.get_classifier().weight *= 3e4  # gradients overflow at the first scale, 65536
    fit(training, run_in(tmp_path))
    assert all(torch.isfinite(value).all() for value in training.model.state_dict().values())
    assert checkpoint.read_about(checkpoints(Run(tmp_path))[0])["scaler"]["scale"] < 65536
