"""From ids to ids of other classes to pixels: what goes along, what is new, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from drawn import draw_shapes
from safetensors.torch import load_file

import seit
from seit.errors import RunError

SHORT = {"epochs": "1", "batch_size": "20", "warmup_epochs": "0", "precision": "float32"}


def weights(run):
    return load_file(run / "classifier" / "model.safetensors")


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """Pictures of two of the shapes' classes, and their ids."""
    folder = tmp_path_factory.mktemp("two_classes")
    draw_shapes(folder / "whole", 12, 4)
    for split in ("train", "val"):
        (folder / "two" / split).mkdir(parents=True)
        for name in ("circle", "square"):
            (folder / "whole" / split / name).rename(folder / "two" / split / name)
    seit.tokenize(folder / "two", folder / "two.tokens", tokenizer="patch4", size=32)
    return folder


def still(learning_rate="1e-12"):
    """Settings that leave the weights where they start, up to rounding."""
    return SHORT | {"learning_rate": learning_rate, "weight_decay": "0"}


def test_the_same_classes_keep_everything(run, tokens, tmp_path, caplog):
    result = seit.train(tokens, tmp_path / "next", settings=still(), from_run=run)
    before, after = weights(run), weights(tmp_path / "next")
    learned = [key for key in before if "running" not in key and "num_batches" not in key]
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in learned)
    about = json.loads((tmp_path / "next" / "run.json").read_text())
    assert about["from"]["run"] == str(run)
    assert about["transfer"]["dropped"] == about["transfer"]["new"] == ["table"]
    assert "new: table" in caplog.text
    assert result["top1"] >= 0


def test_other_classes_get_a_fresh_head_and_the_old_trunk(run, two_classes, tmp_path, caplog):
    out = tmp_path / "next"
    seit.train(two_classes / "two.tokens", out, settings=still(), from_run=run)
    before, after = weights(run), weights(out)
    assert torch.allclose(before["trunk.layer1.0.conv1.weight"], after["trunk.layer1.0.conv1.weight"], atol=1e-6)
    transfer = json.loads((out / "run.json").read_text())["transfer"]
    assert transfer["new"] == ["table", "trunk.fc.weight", "trunk.fc.bias"]
    assert set(transfer["dropped"]) == set(transfer["new"])
    assert "trunk.fc.weight" in caplog.text


def test_as_many_other_classes_get_a_fresh_head_too(run, tmp_path):
    from seit.models.classifier import build
    from seit.models.start import start_from

    about = json.loads((run / "run.json").read_text())
    model = build("mini_resnet", "conv3", 16, (8, 8), 3, codebook=torch.zeros(len(about["used_codes"]), 16))
    moved = start_from(run, model, about | {"classes": ["x", "y", "z"]})
    assert "trunk.fc.weight" in moved["new"]
    assert "trunk.fc.weight" not in start_from(run, model, about)["new"]


def test_pixels_after_ids_get_a_fresh_stem(run, shapes, tmp_path):
    settings = still() | {"pixel_size": "32"}
    out = tmp_path / "pixels"
    seit.train(shapes, out, recipe="mini-pixels", settings=settings, from_run=run)
    transfer = json.loads((out / "run.json").read_text())["transfer"]
    assert transfer["new"] == ["trunk.conv1.weight"]
    assert set(transfer["dropped"]) >= {"table"}
    before, after = weights(run), weights(out)
    assert torch.allclose(before["trunk.fc.weight"], after["trunk.fc.weight"], atol=1e-6)


def test_a_learned_table_goes_along_code_by_code(tokens, two_classes, tmp_path):
    settings = still() | {"learned": "true"}
    seit.train(tokens, tmp_path / "first", settings=SHORT | {"learned": "true"})
    seit.train(two_classes / "two.tokens", tmp_path / "next", settings=settings, from_run=tmp_path / "first")
    mine, theirs = (weights(tmp_path / name)["table"] for name in ("next", "first"))
    codes, known = (
        json.loads((tmp_path / name / "run.json").read_text())["used_codes"] for name in ("next", "first")
    )
    shared = [code for code in codes if code in known]
    assert codes != known
    assert len(shared) > 5
    for code in shared:
        assert torch.allclose(mine[codes.index(code)], theirs[known.index(code)], atol=1e-6)


def test_what_cannot_be_started_from_is_refused(run, tokens, shapes, tmp_path):
    with pytest.raises(RunError, match="is not a run"):
        seit.train(tokens, tmp_path / "a", from_run=tokens)
    with pytest.raises(seit.SeitError, match="weights of mini_resnet do not fit reduced_resnet18"):
        seit.train(tokens, tmp_path / "b", settings={"trunk": "reduced_resnet18"}, from_run=run)
    other = tmp_path / "other.tokens"
    seit.tokenize(shapes, other, tokenizer="patch8", size=64)
    with pytest.raises(RunError, match=r"was trained on ids of patch4.*patch8.*with the run's tokenizer"):
        seit.train(other, tmp_path / "c", from_run=run)
    seit.train(tokens, tmp_path / "d", settings=still(), from_run=run)
    with pytest.raises(RunError, match="holds a run with another from"):
        seit.train(tokens, tmp_path / "d", settings=still())
    assert not any((tmp_path / name).exists() for name in "abc")
