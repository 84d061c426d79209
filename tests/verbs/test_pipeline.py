"""Images -> token data set -> run -> accuracy and predictions: every way round says the same."""

import json
import shutil

import numpy as np
import pytest
import torch
from drawn import CLASSES, SETTINGS
from PIL import Image
from safetensors.numpy import load_file

import seit
from seit import tokenizers
from seit.images import open_source
from seit.store import TokenDataset


def test_tokenize_stores_what_the_tokenizer_says_of_each_picture(shapes, tokens):
    tokenizer = tokenizers.load("patch4")
    dataset = TokenDataset(tokens)
    source = open_source(shapes)
    assert dataset.classes == list(CLASSES)
    assert dataset.splits == {"train": 60, "val": 24}
    assert dataset.names(np.arange(84)) == source.names
    assert dataset.labels.tolist() == source.labels.tolist()
    for row in (0, 1, 30, 61, 83):
        picture = Image.open(shapes / source.names[row]).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            assert (tokenizer.encode(pixels)[0].numpy() == dataset.tokenizer_ids([row])[0]).all()


def test_tokenize_again_changes_nothing_and_says_the_same(shapes, tokens):
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tokens.iterdir()}
    assert seit.tokenize(shapes, tokens, tokenizer="patch4", size=32) == seit.info(tokens)
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tokens.iterdir()} == before


def test_show_draws_originals_beside_what_their_ids_decode_to(shapes, tmp_path):
    pictures = shutil.copytree(shapes, tmp_path / "pictures")
    seit.tokenize(pictures, tmp_path / "t.tokens", tokenizer="patch4", size=32)
    shown = seit.show(tmp_path / "t.tokens", rows=5)
    assert shown["originals"] is True
    assert len(shown["rows"]) == 5
    beside = Image.open(tmp_path / "t.tokens.png").size
    pictures.rename(tmp_path / "moved")
    assert seit.show(tmp_path / "t.tokens", rows=5)["originals"] is False
    assert Image.open(tmp_path / "t.tokens.png").size != beside
    again = seit.show(tmp_path / "t.tokens", tmp_path / "new" / "sheet.png", rows=5, source=tmp_path / "moved")
    assert again["originals"] is True
    assert Image.open(tmp_path / "new" / "sheet.png").size == beside


def test_a_run_holds_what_made_it(run, tokens):
    about = json.loads((run / "run.json").read_text())
    dataset = TokenDataset(tokens, "train")
    assert about["data"] == str(tokens)
    assert about["classes"] == list(CLASSES)
    assert about["tokenizer"]["identity"] == dataset.tokenizer["identity"]
    assert about["fingerprint"] == dataset.fingerprint()
    assert {"seit", "torch", "timm", "numpy"} <= about["versions"].keys()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 9]
    result = json.loads((run / "result.json").read_text())
    assert result["top1"] == pytest.approx(lines[-1]["top1"])
    assert result["held_out_rows"] == 24
    weights = load_file(run / "classifier" / "model.safetensors")
    named = dict(seit.load(run).classifier.named_parameters())
    assert result["parameters"] == sum(weights[name].size for name in named)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000000009.safetensors"]


def test_a_finished_run_is_not_trained_again(run, tokens):
    before = (run / "classifier" / "model.safetensors").stat().st_mtime_ns
    result = seit.train(tokens, run, settings=SETTINGS)
    assert result == json.loads((run / "result.json").read_text())
    assert (run / "classifier" / "model.safetensors").stat().st_mtime_ns == before


def test_accuracy_on_ids_on_images_and_counted_by_hand_from_predictions_agree(run, tokens, shapes):
    on_ids, on_images = seit.eval(run, tokens=tokens), seit.eval(run, images=shapes)
    assert on_ids == on_images
    assert on_ids["rows"] == 24
    predictions = seit.predict(run, [shapes / "val"])
    right = [p["class"] == p["image"].split("/")[-2] for p in predictions]
    assert len(right) == 24
    assert np.mean(right) == on_ids["top1"] > 0.5
    assert json.loads((run / "result.json").read_text())["top1"] == pytest.approx(on_ids["top1"], abs=1e-6)
    for label, kind in enumerate(CLASSES):
        of_class = [r for r, p in zip(right, predictions, strict=True) if f"/{kind}/" in p["image"]]
        assert on_ids["per_class"][kind] == np.mean(of_class)
        assert on_ids["confusion"][label][label] == sum(of_class)


def test_load_in_two_lines_gives_what_predict_gives(run, shapes):
    path = shapes / "val" / "stripes" / "02.jpg"
    model = seit.load(run)
    found = model.predict([path, str(path), path.read_bytes(), Image.open(path)], top=2)
    command = seit.predict(run, [path], top=2)[0]
    assert command["image"] == found[0]["image"] == str(path)
    assert [f["image"] for f in found] == [str(path), str(path), 2, 3]
    for one in found:
        assert [name for name, _ in one["top"]] == [name for name, _ in command["top"]]
        assert np.allclose([p for _, p in one["top"]], [p for _, p in command["top"]], atol=1e-5)
        assert one["probability"] == one["top"][0][1]
    assert len(command["top"]) == 2
    with torch.inference_mode():
        shares = model(torch.rand(2, 3, 32, 32)).softmax(-1)
    assert torch.allclose(shares.sum(1), torch.ones(2))


def test_a_run_moves_with_its_tokenizer(run, shapes, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    assert seit.eval(moved, images=shapes)["top1"] == seit.eval(run, images=shapes)["top1"]


def test_eval_joins_classes_by_name_where_a_data_set_has_fewer(run, shapes, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(shapes, fewer, ignore=lambda _, names: {"circle"} & set(names))
    seit.tokenize(fewer, tmp_path / "fewer.tokens", tokenizer="patch4", size=32)
    on_ids, on_images = seit.eval(run, tokens=tmp_path / "fewer.tokens"), seit.eval(run, images=fewer)
    whole = seit.eval(run, images=shapes)
    assert on_ids == on_images
    assert on_ids["per_class"] == {kind: whole["per_class"][kind] for kind in ("square", "stripes")}


def test_a_pixel_run_goes_the_same_way(shapes, tmp_path):
    out = tmp_path / "pixels"
    seit.train(shapes, out, recipe="mini-pixels", settings={**SETTINGS, "pixel_size": "32"})
    assert not (out / "tokenizer.safetensors").exists()
    whole = seit.eval(out, images=shapes)
    predictions = seit.predict(out, [shapes / "val"])
    assert np.mean([p["class"] == p["image"].split("/")[-2] for p in predictions]) == whole["top1"]


@pytest.fixture(scope="module")
def own_tokenizer(tmp_path_factory):
    """A tokenizer file that is not bundled: small and untrained."""
    from seit.tokenizers.conv import ConvTokenizer

    torch.manual_seed(0)
    preprocessing = {"size": 32, "resize": "squash", "interpolation": "bicubic"}
    tokenizer = ConvTokenizer(4, 32, 8, (8, 8), (1, 1), preprocessing=preprocessing, name="mine")
    path = tmp_path_factory.mktemp("tokenizer") / "mine.safetensors"
    tokenizers.save(tokenizer.eval(), path, {})
    return path


def test_a_tokenizer_of_ones_own_goes_through_every_step(shapes, own_tokenizer, tmp_path):
    out = tmp_path / "own.tokens"
    made = seit.tokenize(shapes, out, tokenizer=own_tokenizer)
    assert made["vocabulary"] == 32
    assert made["grid"] == [8, 8]
    seit.show(out, tokenizer=own_tokenizer, rows=3)
    seit.train(out, tmp_path / "run", settings=SETTINGS, tokenizer=own_tokenizer)
    assert seit.eval(tmp_path / "run", tokens=out) == seit.eval(tmp_path / "run", images=shapes)


def test_without_its_tokenizer_a_run_takes_ids_but_no_images(shapes, own_tokenizer, tmp_path):
    out = tmp_path / "own.tokens"
    seit.tokenize(shapes, out, tokenizer=own_tokenizer)
    with pytest.raises(seit.SeitError, match=r"flip.*--tokenizer, or set flip.probability=0"):
        seit.train(out, tmp_path / "run", settings=SETTINGS)
    seit.train(out, tmp_path / "run", settings={**SETTINGS, "flip.probability": "0"})
    with pytest.raises(seit.SeitError, match="copy the tokenizer's file to"):
        seit.predict(tmp_path / "run", [shapes])
    shutil.copy(own_tokenizer, tmp_path / "run" / "tokenizer.safetensors")
    assert len(seit.predict(tmp_path / "run", [shapes / "val"])) == 24


def test_pictures_without_labels_become_tokens_too(unlabelled, run, tmp_path):
    made = seit.tokenize(unlabelled, tmp_path / "flat.tokens", tokenizer="patch4", size=32)
    assert made["splits"] == {"train": 4}
    assert made["classes"] == 0
    assert len(seit.predict(run, [unlabelled])) == 4


def test_recompressed_pictures_keep_their_class(run, shapes, tmp_path):
    path = tmp_path / "c.webp"
    Image.open(shapes / "val" / "circle" / "03.jpg").save(path, quality=70)
    assert seit.predict(run, [path])[0]["class"] == "circle"
