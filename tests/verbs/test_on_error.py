"""Wherever pictures are read, those that cannot be are refused, or left out and named; nothing else changes."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from drawn import SETTINGS

import seit
from seit.errors import ImageError, SeitError
from seit.images import Image, Preparation, Views, prepare
from seit.images.account import Account
from seit.store import TokenDataset

BAD = ["train/circle/03.jpg", "train/stripes/04.jpg", "val/square/02.jpg", "val/square/05.jpg"]
PIXELS = {**SETTINGS, "epochs": "1", "warmup_epochs": "0", "pixel_size": "32"}


@pytest.fixture(scope="module")
def with_bad(shapes, tmp_path_factory):
    """The shapes with a cut picture, an empty one, a text and a broken link. Read only."""
    folder = shutil.copytree(shapes, tmp_path_factory.mktemp("bad") / "pictures")
    (folder / BAD[0]).write_bytes((folder / BAD[0]).read_bytes()[:300])
    (folder / BAD[1]).write_bytes(b"")
    (folder / BAD[2]).write_bytes(b"<html>404</html>")
    (folder / BAD[3]).unlink()
    (folder / BAD[3]).symlink_to(folder / "nowhere.jpg")
    return folder


@pytest.fixture(scope="module")
def without(with_bad, tmp_path_factory):
    """The same without them. Read only."""
    folder = tmp_path_factory.mktemp("good") / "pictures"
    shutil.copytree(with_bad, folder, symlinks=True)
    for name in BAD:
        (folder / name).unlink()
    return folder


def named(report):
    """Returns the names of a report."""
    return [json.loads(line)["name"] for line in report.read_text().splitlines()]


def test_predict_leaves_them_out_and_says_the_same_of_the_others(run, with_bad, without, tmp_path):
    with pytest.raises(ImageError, match=r"05\.jpg: not a regular file; .*--on-error skip"):
        seit.predict(run, [with_bad], out=tmp_path / "p.csv")
    assert not list(tmp_path.iterdir())
    account = Account()
    found = seit.predict(run, [with_bad], out=tmp_path / "p.csv", on_error="skip", account=account)
    expected = seit.predict(run, [without])
    assert [p["class"] for p in found] == [p["class"] for p in expected]
    assert np.allclose([p["probability"] for p in found], [p["probability"] for p in expected], atol=1e-5)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 81
    assert sorted(named(tmp_path / "p.csv.quarantine.jsonl")) == sorted(
        os.path.join(with_bad, name) for name in BAD
    )
    assert sum(group.count for group in account.unreadable.values()) == 4
    seit.predict(run, [without], out=tmp_path / "p.csv", on_error="skip")
    assert not (tmp_path / "p.csv.quarantine.jsonl").exists()


def test_predict_without_a_file_names_every_one_in_its_account(run, with_bad):
    account = Account()
    seit.predict(run, [with_bad / name for name in BAD] + [with_bad / "val/circle/00.jpg"], on_error="skip",
                 account=account)  # fmt: skip
    names = [name for group in account.unreadable.values() for name in group.names]
    assert sorted(names) == sorted(str(with_bad / name) for name in BAD)


@pytest.mark.parametrize("split", ["val", "all"])
def test_eval_measures_the_others(run, with_bad, without, split):
    with pytest.raises(ImageError, match="--on-error skip"):
        seit.eval(run, images=with_bad, split=split)
    found = seit.eval(run, images=with_bad, split=split, on_error="skip")
    expected = seit.eval(run, images=without, split=split)
    assert found["confusion"] == expected["confusion"]
    assert found["rows"] == expected["rows"]


@pytest.mark.parametrize("augment", ["flip", "rand_augment,resized_crop"])
def test_a_training_on_pixels_leaves_them_out_and_ends_with_the_same_weights(augment, with_bad, without, tmp_path):
    settings = PIXELS | {"augment": augment}
    with pytest.raises(ImageError, match=r"05\.jpg: not a regular file; .*--on-error skip"):
        seit.train(with_bad, tmp_path / "run", recipe="mini-pixels", settings=settings)
    assert not (tmp_path / "run").exists()
    account = Account()
    seit.train(
        with_bad, tmp_path / "run", recipe="mini-pixels", settings=settings, on_error="skip", account=account
    )
    seit.train(without, tmp_path / "clean", recipe="mini-pixels", settings=settings)
    weights = [(tmp_path / name / "classifier/model.safetensors").read_bytes() for name in ("run", "clean")]
    assert weights[0] == weights[1]
    assert sorted(named(tmp_path / "run.quarantine.jsonl")) == sorted(BAD)
    assert account.report == str(tmp_path / "run.quarantine.jsonl")


def test_a_limit_that_is_passed_ends_each_of_them(run, with_bad, tmp_path):
    for call in (
        lambda most: seit.predict(run, [with_bad], on_error="limit", max_bad=most),
        lambda most: seit.eval(run, images=with_bad, split="all", on_error="limit", max_bad=most),
        lambda most: seit.tokenize(
            with_bad, tmp_path / f"{most}.tokens", tokenizer="patch4", size=32, on_error="limit", max_bad=most
        ),
    ):
        with pytest.raises(ImageError, match=r"3 are borne.*--on-error skip"):
            call(3)
        call(4)


def test_a_tokenizer_is_trained_on_the_others(with_bad, tmp_path, cli):
    options = ("--steps", "4", "--codes", "8", "--sides", "32", "--quiet")
    ended = cli("tokenizer", "train", with_bad, "--out", tmp_path / "t.safetensors", *options)
    assert ended.code == 1
    assert "--on-error skip" in ended.err.splitlines()[-1]
    ended = cli("tokenizer", "train", with_bad, "--out", tmp_path / "t.safetensors", *options, "--on-error", "skip",
                "--json")  # fmt: skip
    assert ended.code == 0
    assert sorted(named(tmp_path / "t.safetensors.quarantine.jsonl")) == sorted(BAD)
    (account,) = json.loads(ended.out)["account"]
    assert account["images"] == 84
    assert sum(group["count"] for group in account["unreadable"].values()) == 4


@pytest.mark.parametrize("lost", ["class", "split"])
def test_a_class_or_split_all_of_whose_pictures_are_bad_is_an_error(lost, shapes, run, tmp_path):
    folder = shutil.copytree(shapes, tmp_path / "pictures")
    for path in (folder / "train/circle" if lost == "class" else folder / "val").rglob("*.*"):
        path.write_bytes(b"")
    said = (
        "no image of the class circle can be read" if lost == "class" else "no image of the split val can be read"
    )
    out = tmp_path / "out"
    with pytest.raises(ImageError, match=said):
        seit.tokenize(folder, out, tokenizer="patch4", size=32, on_error="skip")
    with pytest.raises(ImageError, match=said):
        seit.train(folder, tmp_path / "run", recipe="mini-pixels", settings=PIXELS, on_error="skip")
    if lost == "split":
        with pytest.raises(ImageError, match=said):
            seit.eval(run, images=folder, on_error="skip")
    assert not out.exists()
    assert not (tmp_path / "run").exists()
    # Once the pictures are back the same command goes on, and reads them again.
    shutil.copytree(shapes, folder, dirs_exist_ok=True)
    assert seit.tokenize(folder, out, tokenizer="patch4", size=32, on_error="skip")["images"] == 84
    assert not (tmp_path / "out.quarantine.jsonl").exists()


def test_too_little_memory_is_a_bad_images_reason():
    def read():
        raise MemoryError

    how = Preparation({"size": 32, "resize": "squash", "interpolation": "bicubic"}, Views())
    (bad,) = prepare([Image("a.png", "train", 0, read)], how, np.zeros((1, 32, 32, 3), np.uint8))
    assert bad.reason == "needs more memory than there is"


def test_options_that_contradict_each_other_are_refused(run, tokens, shapes):
    for options, said in (
        ({"on_error": "ignore"}, "'ignore'"),
        ({"on_error": "limit"}, "--max-bad"),
        ({"max_bad": 2}, "--on-error limit"),
    ):
        with pytest.raises(SeitError, match=said):
            seit.predict(run, [shapes], **options)
        with pytest.raises(SeitError, match=said):
            seit.eval(run, images=shapes, **options)
    with pytest.raises(SeitError, match=r"are of images; give --images"):
        seit.eval(run, tokens=tokens, on_error="skip")


def test_rows_without_a_label_are_counted_before_the_first_step(shapes, tmp_path):
    files = sorted(shapes.rglob("*.jpg"))
    lines = ["path,label,split"]
    for number, path in enumerate(files):
        label = "" if number in (4, 5, 60, 70, 71) else path.parent.name
        lines.append(f"{path},{label},{path.parts[-3]}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    tokens = tmp_path / "list.tokens"
    seit.tokenize(tmp_path / "list.csv", tokens, tokenizer="patch4", size=32)
    labels = TokenDataset(tokens).labels
    assert (labels < 0).sum() == 5
    missing = [str(path) for number, path in enumerate(files) if number in (60, 70, 71)]
    with pytest.raises(
        SeitError, match=rf"3 of \d+ rows have no label \({', '.join(missing)}\); .*--on-error skip"
    ):
        seit.train(tokens, tmp_path / "run", settings=SETTINGS)
    assert not (tmp_path / "run").exists()
    result = seit.train(tokens, tmp_path / "run", settings=SETTINGS, on_error="skip")
    assert result["held_out_rows"] == sum("/val/" in str(path) for path in files) - 3
    pixels = tmp_path / "pixels"
    with pytest.raises(SeitError, match=rf"5 of {len(files)} images have no label \(.*--on-error skip"):
        seit.train(tmp_path / "list.csv", pixels, recipe="mini-pixels", settings=PIXELS)
    result = seit.train(tmp_path / "list.csv", pixels, recipe="mini-pixels", settings=PIXELS, on_error="skip")
    assert (
        json.loads((pixels / "run.json").read_text())["rows"]["train"] + result["held_out_rows"] == len(files) - 5
    )
