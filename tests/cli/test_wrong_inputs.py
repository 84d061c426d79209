"""Every mistake ends in one line that names the place and the cure, in exit code 1, and leaves nothing behind."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from drawn import SETTINGS, picture

import seit

AS_SHAPES = ("--tokenizer", "patch4", "--size", "32")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, shapes, run, tokens, unlabelled):
    """A folder of things that are not what they should be."""
    root = tmp_path_factory.mktemp("wrong")
    (root / "empty").mkdir()
    (root / "other").mkdir()
    (root / "other" / "letter.txt").write_text("Dear Sir")
    shutil.copytree(shapes, root / "one-sided", ignore=lambda at, _: {"square"} if at.endswith("val") else set())
    shutil.copytree(shapes, root / "cut")
    cut = root / "cut" / "train" / "circle" / "03.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    seit.tokenize(unlabelled, root / "flat.tokens", tokenizer="patch4", size=32)
    seit.tokenize(shapes, root / "larger.tokens", tokenizer="patch4", size=40)
    shutil.copytree(shapes, root / "unknown")
    (root / "unknown" / "train" / "circle").rename(root / "unknown" / "train" / "moon")
    (root / "unknown" / "val" / "circle").rename(root / "unknown" / "val" / "moon")
    seit.tokenize(root / "unknown", root / "unknown.tokens", tokenizer="patch4", size=32)
    for name, path, damage in (
        ("no-json", "run.json", b'{"data": '),
        ("no-object", "run.json", b"[]"),
        ("no-recipe", "run.json", b'{"classes": []}'),
        ("result", "result.json", b"{"),
        ("tokenizer", "tokenizer.safetensors", None),
        ("weights", "classifier/model.safetensors", None),
        ("config", "classifier/config.json", b"{"),
        ("config-keys", "classifier/config.json", b"{}"),
    ):
        shutil.copytree(run, root / f"run-{name}")
        at = root / f"run-{name}" / path
        at.write_bytes(damage if damage is not None else at.read_bytes()[:1000])
    shutil.copytree(run, root / "run-unfinished")
    (root / "run-unfinished" / "result.json").unlink()
    (root / "run-unfinished" / "classifier" / "config.json").unlink()
    (root / "damaged.safetensors").write_bytes((run / "tokenizer.safetensors").read_bytes()[:5000])
    picture("circle", 1).save(root / "fine.jpg")
    return root


# Arguments with {places}, and words that the one line has to have: the place and the cure.
MISTAKES = {
    "a missing folder": ("tokenize {wrong}/nowhere {out}", "{wrong}/nowhere", "check the path"),
    "a misspelt embedded source": ("tokenize sampel {out}", "sampel", "embedded source", "'sample'"),
    "no images": ("tokenize {wrong}/empty {out}", "{wrong}/empty", "no images", "pictures"),
    "a class in one split only": (
        "tokenize {wrong}/one-sided {out}",
        "{wrong}/one-sided",
        "class square",
        "none in val",
        "add images to val",
    ),
    "an unreadable image": (
        f"tokenize {{wrong}}/cut {{out}} {' '.join(AS_SHAPES)}",
        "circle/03.jpg",
        "replace or remove",
    ),
    "an unknown tokenizer": (
        "tokenize {shapes} {out} --tokenizer patch9",
        "'patch9'",
        "did you mean 'patch",
        "known",
    ),
    "a damaged tokenizer": (
        "tokenize {shapes} {out} --tokenizer {wrong}/damaged.safetensors",
        "{wrong}/damaged.safetensors",
        "get it again",
    ),
    "a size that the patch does not divide": (
        "tokenize {shapes} {out} --tokenizer patch4 --size 33",
        "33x33",
        "multiples of 4",
    ),
    "an unknown codec": ("tokenize {shapes} {out} --codec contxt", "--codec", "did you mean 'context'"),
    "an unknown device": ("tokenize {shapes} {out} --device gpu", "--device", "'gpu'", "auto, cpu, cuda or mps"),
    "an OUT that holds something else": (
        f"tokenize {{shapes}} {{wrong}}/other {' '.join(AS_SHAPES)}",
        "{wrong}/other",
        "not a token data set",
        "choose another OUT",
    ),
    "an OUT that is a file": (
        f"tokenize {{shapes}} {{wrong}}/fine.jpg {' '.join(AS_SHAPES)}",
        "{wrong}/fine.jpg",
        "choose another OUT",
    ),
    "an OUT that holds another data set": (
        f"tokenize {{shapes}} {{wrong}}/larger.tokens {' '.join(AS_SHAPES)}",
        "{wrong}/larger.tokens",
        "already holds",
        "choose another OUT",
    ),
    "info of nothing": ("info {wrong}/nowhere", "{wrong}/nowhere", "seit tokenize"),
    "info of images": ("info {shapes}", "{shapes}", "not a token data set", "seit tokenize"),
    "info of a file": ("info {wrong}/fine.jpg", "{wrong}/fine.jpg", "check the path"),
    "show with another tokenizer": ("show {tokens} --tokenizer patch8", "{tokens}", "--tokenizer"),
    "show beside other images": ("show {tokens} --source {unlabelled}", "{tokens}", "images that it was made from"),
    "show into no picture": ("show {tokens} --out {out}.txt", "out.txt", "not a .png", "name it so"),
    "train on nothing": ("train {wrong}/nowhere --out {out}", "{wrong}/nowhere", "seit tokenize"),
    "images for a recipe on ids": ("train {shapes} --out {out}", "{shapes}", "seit tokenize", "mini-pixels"),
    "the sample for a recipe on ids": ("train sample --out {out}", "sample", "seit tokenize", "mini-pixels"),
    "ids for a recipe on pixels": (
        "train {tokens} --out {out} --recipe mini-pixels",
        "{tokens}",
        "takes pixels",
        "give the images",
    ),
    "ids without labels": (
        "train {wrong}/flat.tokens --out {out}",
        "{wrong}/flat.tokens",
        "no labels",
        "class folders",
    ),
    "pixels without labels": (
        "train {unlabelled} --out {out} --recipe mini-pixels",
        "{unlabelled}",
        "no labels",
        "class folders",
    ),
    "an unknown recipe": ("train {tokens} --out {out} --recipe mimi", "--recipe", "did you mean 'mini'"),
    "an unknown setting": ("train {tokens} --out {out} --set epoch=3", "--set", "did you mean 'epochs'"),
    "a setting of another type": ("train {tokens} --out {out} --set epochs=three", "--set epochs", "give a number"),
    "an unknown trunk": ("train {tokens} --out {out} --set trunk=resnt18", "trunk", "'resnt18'", "'resnet18'"),
    "an unknown stem": ("train {tokens} --out {out} --set stem=conv9", "stem", "'conv9'", "conv3"),
    "an unknown optimizer": ("train {tokens} --out {out} --set optimizer=adamww", "optimizer", "'adamw'"),
    "an unknown augmentation": ("train {tokens} --out {out} --set augment=nois", "augment", "did you mean 'noise'"),
    "an unknown setting of one": (
        "train {tokens} --out {out} --set noise.sdt=1",
        "noise.sdt",
        "did you mean 'std'",
    ),
    "a probability above 1": (
        "train {tokens} --out {out} --set flip.probability=2",
        "flip.probability",
        "2.0",
        "0 to 1",
    ),
    "an augmentation for a setting": ("train {tokens} --out {out} --set flip=1", "--set flip", "flip.probability"),
    "too little time to warm up": ("train {tokens} --out {out} --set epochs=0.4", "warmup_epochs", "below epochs"),
    "train with another tokenizer": ("train {tokens} --out {out} --tokenizer patch8", "patch8", "{tokens}"),
    "train into something else": ("train {tokens} --out {wrong}/other", "{wrong}/other", "choose another --out"),
    "train into another run": (
        "train {tokens} --out {run} --set epochs=9",
        "{run}",
        "another recipe",
        "another --out",
    ),
    "train into a damaged run": ("train {tokens} --out {wrong}/run-no-json", "{wrong}/run-no-json", "train again"),
    "eval of nothing": ("eval {run}", "--tokens OUT", "--images DIR"),
    "eval of no run": ("eval {shapes} --tokens {tokens}", "{shapes}", "seit train --out"),
    "eval on nothing": ("eval {run} --tokens {wrong}/nowhere", "{wrong}/nowhere", "seit tokenize"),
    "ids of another tokenizer": (
        "eval {run} --tokens {wrong}/larger.tokens",
        "{run}",
        "patch4 at 32 pixels",
        "patch4 at 40 pixels",
        "tokenize the images with",
    ),
    "an unknown split": ("eval {run} --tokens {tokens} --split test", "{tokens}", "'test'", "train, val"),
    "an unknown split of images": ("eval {run} --images {shapes} --split test", "{shapes}", "'test'", "--split"),
    "eval on images without labels": ("eval {run} --images {unlabelled}", "{unlabelled}", "seit predict"),
    "eval on ids without labels": (
        "eval {run} --tokens {wrong}/flat.tokens --split train",
        "{wrong}/flat.tokens",
        "no labels",
        "class folders",
    ),
    "classes that the run does not know": (
        "eval {run} --images {wrong}/unknown",
        "{wrong}/unknown",
        "moon",
        "leave",
    ),
    "ids of classes that the run does not know": (
        "eval {run} --tokens {wrong}/unknown.tokens",
        "{wrong}/unknown.tokens",
        "moon",
        "leave",
    ),
    "an unreadable image in eval": ("eval {run} --images {wrong}/cut --split train", "circle/03.jpg", "remove"),
    "run.json that is no JSON": (
        "eval {wrong}/run-no-json --tokens {tokens}",
        "run-no-json/run.json",
        "train again",
    ),
    "run.json that is a list": (
        "eval {wrong}/run-no-object --tokens {tokens}",
        "run-no-object/run.json",
        "train again",
    ),
    "run.json without a recipe": (
        "eval {wrong}/run-no-recipe --tokens {tokens}",
        "run-no-recipe/run.json",
        "recipe",
    ),
    "a damaged tokenizer in a run": (
        "predict {wrong}/run-tokenizer {wrong}/fine.jpg",
        "run-tokenizer/tokenizer.safet",
    ),
    "damaged weights": ("predict {wrong}/run-weights {wrong}/fine.jpg", "{wrong}/run-weights/classifier"),
    "a damaged model": ("predict {wrong}/run-config {wrong}/fine.jpg", "{wrong}/run-config/classifier"),
    "an empty model": ("predict {wrong}/run-config-keys {wrong}/fine.jpg", "{wrong}/run-config-keys/classifier"),
    "an unfinished run": ("predict {wrong}/run-unfinished {wrong}/fine.jpg", "{wrong}/run-unfinished", "goes on"),
    "predict nothing": ("predict {run} {wrong}/nowhere.jpg", "{wrong}/nowhere.jpg", "check the path"),
    "predict a letter": ("predict {run} {wrong}/other/letter.txt", "letter.txt", "not a picture", "JPEG"),
    "predict an empty folder": ("predict {run} {wrong}/empty", "{wrong}/empty", "no images"),
    "predict into a text": (
        "predict {run} {wrong}/fine.jpg --out {out}.txt",
        "out.txt",
        ".csv nor .json",
        "name it so",
    ),
    "verify nothing": ("verify {wrong}/nowhere", "{wrong}/nowhere", "seit tokenize"),
    "repair from other images": ("repair {tokens} --source {wrong}/nowhere", "{wrong}/nowhere", "check the path"),
    "convert images": ("convert {shapes} {out}", "{shapes}", "not a token data set", "seit tokenize"),
    "convert into an unknown format": ("convert {tokens} {out} --to parket", "--to", "did you mean 'parquet'"),
    "convert to an unknown codec": ("convert {tokens} {out} --codec contxt", "did you mean 'context'"),
    "convert into something else": ("convert {tokens} {wrong}/other", "{wrong}/other", "choose another"),
    "arrays into something else": ("convert {tokens} {wrong}/other --to npy", "{wrong}/other", "choose another"),
    "an 8 x 8 grid for the official files": ("convert {tokens} {out} --to official", "8", "32"),
    "a demo into something else": ("demo --out {wrong}/other", "{wrong}/other", "no demo", "choose another --out"),
    "a tokenizer that is no file of ours": ("tokenizer train {shapes} --out {out}.bin", "out.bin", ".safetensors"),
    "a tokenizer of odd sides": (
        "tokenizer train {shapes} --out {out}.safetensors --sides 36",
        "tokenizer out",
        "36",
        "multiples",
    ),
    "a tokenizer for too small pictures": (
        "tokenizer train {shapes} --out {out}.safetensors",
        "64 pixels or more",
        "add larger ones",
    ),
}


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, cli, wrong, shapes, tokens, run, unlabelled, tmp_path, monkeypatch):
    places = {"wrong": wrong, "shapes": shapes, "tokens": tokens, "run": run, "unlabelled": unlabelled}
    line, *words = (text.format_map(places | {"out": tmp_path / "out"}) for text in MISTAKES[mistake])
    monkeypatch.chdir(tmp_path)
    before = [everything(folder) for folder in (wrong, shapes.parent, unlabelled.parent)]
    ended = cli(*line.split(), "--quiet")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.startswith("seit: ")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err
    assert not list(tmp_path.iterdir()), "left behind"
    assert [everything(folder) for folder in (wrong, shapes.parent, unlabelled.parent)] == before


def test_a_damaged_result_is_said_so(cli, wrong, tokens):
    settings = [word for pair in SETTINGS.items() for word in ("--set", "=".join(pair))]
    ended = cli("train", tokens, "--out", wrong / "run-result", *settings)
    assert ended.code == 1
    assert "run-result/result.json" in ended.err
    assert "train again" in ended.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_this_machine_lacks_is_refused(cli, tokens, tmp_path):
    ended = cli("train", tokens, "--out", tmp_path / "out", "--device", "cuda")
    assert ended.code == 1
    assert "no cuda device" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "tokenize only-source",
        "tokenize a b --bogus",
        "frobnicate",
        "train t --out r --set epochs",
        "train t",
        "predict run",
        "predict run a.jpg --top 0",
        "show t --rows 0",
        "tokenizer train a --out b.safetensors --sides 64;32",
        "tokenizer train a --out b.safetensors --codes 0",
    ],
)
def test_wrong_usage_ends_in_code_2(line, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cli(*line.split())
    assert ended.code == 2
    assert ended.out == ""
    assert "Usage: seit" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_mended_source_can_be_tokenized_again_into_the_same_out(cli, shapes, tmp_path):
    source = shutil.copytree(shapes, tmp_path / "pictures")
    bad = source / "train" / "circle" / "04.jpg"
    bad.write_bytes(b"")
    assert cli("tokenize", source, tmp_path / "out", *AS_SHAPES).code == 1
    bad.unlink()
    assert cli("tokenize", source, tmp_path / "out", *AS_SHAPES).code == 0
    assert seit.info(tmp_path / "out")["images"] == 83


def test_a_mended_recipe_can_be_trained_into_the_same_run(cli, tokens, tmp_path):
    for trunk, code in (("mini_resnt", 1), ("mini_resnet", 0)):
        line = ["--set", f"trunk={trunk}", "--set", "epochs=1"]
        assert cli("train", tokens, "--out", tmp_path / "out", *line).code == code
    assert json.loads((tmp_path / "out" / "result.json").read_text())["held_out_rows"] == 24


def test_a_run_whose_data_changed_is_not_gone_on_with(cli, shapes, tmp_path):
    source = shutil.copytree(shapes, tmp_path / "pictures")
    out, run = tmp_path / "t", tmp_path / "run"
    seit.tokenize(source, out, tokenizer="patch4", size=32)
    seit.train(out, run, settings=SETTINGS)
    shutil.rmtree(out)
    picture("square", 77).save(source / "train" / "circle" / "00.jpg")
    seit.tokenize(source, out, tokenizer="patch4", size=32)
    settings = [word for pair in SETTINGS.items() for word in ("--set", "=".join(pair))]
    ended = cli("train", out, "--out", run, *settings)
    assert ended.code == 1
    assert "another --out" in ended.err
