"""What a checkpoint must hold, and what happens when one is damaged or cannot be written."""

from __future__ import annotations

import resource
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from test_loop import RECIPE, Toy, prepared, trained
from timm.utils import ModelEmaV3

from seit import checkpoint
from seit.augment.cutmix import CutMix
from seit.errors import RunError
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


def stopped(rows, recipe, folder, evaluations):
    """Trains until the n-th evaluation, which raises."""
    model, augment = prepared(rows, recipe)
    calls = []

    def stops(classifier):
        calls.append(1)
        if len(calls) == evaluations:
            raise KeyboardInterrupt
        return {"top1": 0.1 * len(calls)}

    with pytest.raises(KeyboardInterrupt):
        fit(model, augment, rows, recipe, folder, stops)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_ends_in_the_same_bits(kind, tmp_path):
    recipe = replace(RECIPE, epochs=3, **KINDS[kind])
    rows = Toy(40)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, _ = trained(rows, recipe, tmp_path / "whole")
    stopped(rows, recipe, tmp_path / "cut", 3)
    again, _ = trained(rows, recipe, tmp_path / "cut")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_the_average_of_the_weights_is_what_is_evaluated_and_returned(tmp_path):
    recipe = replace(RECIPE, epochs=2, ema=0.9)
    rows = Toy(64)
    model, augment = prepared(rows, recipe)
    naive, seen = None, []

    def watch(classifier):
        seen.append({key: value.clone() for key, value in classifier.state_dict().items()})
        return {}

    update = ModelEmaV3.update
    steps = []
    try:
        ModelEmaV3.update = lambda self, model, step: (
            steps.append({k: v.clone() for k, v in model.state_dict().items()}),
            update(self, model, step),
        )
        fit(model, augment, rows, recipe, tmp_path, watch)
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
    model, augment = prepared(rows, recipe)
    seen = []

    def evaluate(classifier):
        seen.append({key: value.clone() for key, value in classifier.state_dict().items()})
        return {"top1": [0.3, 0.8, 0.5][len(seen) - 1]}

    values = fit(model, augment, rows, recipe, tmp_path, evaluate)
    assert (values["top1"], values["best_top1"], values["best_step"]) == (0.5, 0.8, 6)
    best = type(model).from_pretrained(str(tmp_path / "best"))
    for key, value in best.state_dict().items():
        assert torch.equal(value, seen[1][key]), key


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "one bit"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_goes_on(damage, tmp_path, caplog):
    rows, recipe = Toy(40), replace(RECIPE, epochs=4)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, _ = trained(rows, recipe, tmp_path / "whole")
    stopped(rows, recipe, tmp_path / "cut", 4)
    newest, _ = checkpoints(tmp_path / "cut")
    _spoil(newest, damage)
    again, _ = trained(rows, recipe, tmp_path / "cut")
    assert f"{newest}: is no whole checkpoint" in caplog.text
    assert "going on from the checkpoint before it" in caplog.text
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key

    # None is left that is good: better to stop than to train anew without a word.
    shutil.rmtree(tmp_path / "cut")
    (tmp_path / "cut").mkdir()
    stopped(rows, recipe, tmp_path / "cut", 2)
    _spoil(checkpoints(tmp_path / "cut")[0], damage)
    with pytest.raises(RunError, match=r"is no whole checkpoint.*remove it to start anew"):
        trained(rows, recipe, tmp_path / "cut")


def _spoil(path, damage):
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>" * 100, "one bit": bytes(whole)}[damage]
    )


def test_the_checkpoint_of_another_recipe_or_model_is_refused(tmp_path):
    rows = Toy(32)
    stopped(rows, RECIPE, tmp_path, 2)
    with pytest.raises(RunError, match="left by another recipe; choose another --out"):
        trained(rows, replace(RECIPE, seed=1), tmp_path)
    other = torch.nn.Linear(2, 2)
    about = {"recipe": RECIPE.to_json(), "step": 1}
    checkpoint.save(checkpoints(tmp_path)[0], other, torch.optim.AdamW(other.parameters()), about)
    with pytest.raises(RunError, match="does not fit this training"):
        trained(rows, RECIPE, tmp_path)


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path):
    model, _ = prepared(Toy(32), RECIPE)
    state = State(model, RECIPE, tmp_path)
    state.save()
    (good,) = checkpoints(tmp_path)
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
        (tmp_path / precision).mkdir()
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
    model, augment = prepared(rows, recipe)
    with torch.no_grad():
        model.trunk.get_classifier().weight *= 3e4  # gradients overflow at the first scale, 65536
    fit(model, augment, rows, recipe, tmp_path, lambda _: {})
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert checkpoint.read_about(checkpoints(tmp_path)[0])["scaler"]["scale"] < 65536
