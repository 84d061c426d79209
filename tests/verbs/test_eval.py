"""`seit eval` of a part: some classes, every split; counted again by hand from the classifier's own logits."""

import shutil

import numpy as np
import pytest
import torch
from drawn import CLASSES, draw_shapes
from PIL import Image

import seit
from seit.images import open_source
from seit.store import TokenDataset


def logits_of(run, path):
    """Returns the labels and logits of a folder of held-out class folders, one picture at a time."""
    model = seit.load(run)
    found = []
    for label, kind in enumerate(CLASSES):
        for file in sorted((path / kind).iterdir()):
            view = Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
            pixels = torch.from_numpy(np.array(view)).permute(2, 0, 1)[None] / 255
            with torch.inference_mode():
                found.append((label, model(pixels)[0].numpy()))
    labels, logits = zip(*found, strict=True)
    return np.array(labels), np.stack(logits)


@pytest.mark.parametrize("given", ["stripes, circle", ("circle", "stripes"), "file"], ids=["text", "names", "file"])
def test_a_subset_of_classes_is_measured_among_themselves(given, run, tokens, shapes, tmp_path):
    if given == "file":
        given = tmp_path / "chosen.txt"
        given.write_text("circle\nstripes\n\n")
        given = str(given)
    labels, logits = logits_of(run, shapes / "val")
    rows = labels != 1
    guesses = np.array([0, 2])[logits[rows][:, [0, 2]].argmax(1)]
    found = seit.eval(run, images=shapes, classes=given)
    assert found["rows"] == 16
    assert found["classes"] == ["circle", "stripes"]
    assert found["top1"] == np.mean(guesses == labels[rows])
    assert found["confusion"][0][1] == np.sum((labels[rows] == 0) & (guesses == 2))
    assert found["per_class"].keys() == {"circle", "stripes"}
    assert seit.eval(run, tokens=tokens, classes=given) == found


def test_a_class_subset_passes_by_classes_that_the_classifier_never_saw(run, shapes, tmp_path):
    more = shutil.copytree(shapes, tmp_path / "more")
    for split in ("train", "val"):
        shutil.copytree(more / split / "circle", more / split / "ring")
    seit.tokenize(more, tmp_path / "more.tokens", tokenizer="patch4", size=32)
    wanted = seit.eval(run, images=shapes, classes="circle,square")
    for found in (
        seit.eval(run, images=more, classes="circle,square"),
        seit.eval(run, tokens=tmp_path / "more.tokens", classes="circle,square"),
    ):
        assert found["confusion"] == wanted["confusion"]


def test_all_splits_are_train_and_val_together(run, tokens, shapes):
    parts = [seit.eval(run, tokens=tokens, split=split) for split in ("train", "val", "all")]
    assert [part["rows"] for part in parts] == [60, 24, 84]
    assert {part["all_rows"] for part in parts} == {84}
    train, val, whole = (np.array(part["confusion"]) for part in parts)
    assert (train + val == whole).all()
    assert seit.eval(run, images=shapes, split="all") == parts[2]


def test_of_class_folders_without_a_split_it_says_which_part_was_measured(run, cli, tmp_path):
    draw_shapes(tmp_path / "drawn", 1, 30)
    folder = tmp_path / "drawn" / "val"
    held = open_source(folder).splits["val"]
    ended = cli("eval", run, "--images", folder)
    assert f"{held} of 90 (split val, 5% of each class by a hash of the name)" in ended.out
    assert "90 of 90 (split all)" in cli("eval", run, "--images", folder, "--split", "all").out
    seit.tokenize(folder, tmp_path / "flat.tokens", tokenizer="patch4", size=32)
    assert TokenDataset(tmp_path / "flat.tokens").splits["val"] == held
    assert f"{held} of 90 (split val" in cli("eval", run, "--tokens", tmp_path / "flat.tokens").out


def test_the_commonest_confusions_are_printed(run, shapes, cli):
    found = seit.eval(run, images=shapes, split="all")
    printed = cli("eval", run, "--images", shapes, "--split", "all").out
    for mistake in found["confusions"]:
        assert (
            f"{mistake['true']} taken for {mistake['predicted']}: {mistake['rows']} of {mistake['of']}" in printed
        )
    assert sum(m["rows"] for m in found["confusions"]) == round((1 - found["top1"]) * 84)


@pytest.mark.parametrize(
    ("classes", "said"),
    [("circel", r"no class 'circel'.*did you mean 'circle'"), (" , ", "names no class.*commas between them")],
)
def test_unknown_classes_are_refused_by_name(classes, said, run, shapes):
    with pytest.raises(seit.SeitError, match=said):
        seit.eval(run, images=shapes, classes=classes)
