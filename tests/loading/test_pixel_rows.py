"""Pixel rows: one a view, as a token data set of the same source has them, with all that rows can do."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import seit
from seit import tokenizers
from seit.augment.from_file import from_file
from seit.augment.rand_augment import RandAugment
from seit.augment.resized_crop import ResizedCrop
from seit.errors import ImageError, RunError, StoreError
from seit.images import open_source
from seit.loading import batches
from seit.loading.drawn import DrawnPixels
from seit.loading.pixels import PixelRows
from seit.loading.rows import Asked
from seit.store import TokenDataset

VIEW = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


@pytest.fixture(scope="module")
def listed(shapes, tmp_path_factory):
    """The shapes as a list that gives each image three boxes and their flips; the last one a label a view."""
    lines, rng = [], np.random.default_rng(0)
    for path in sorted(shapes.rglob("*.*")):
        boxes = [[int(v) for v in (*rng.integers(0, 10, 2), *rng.integers(5, 30, 2))] for _ in range(3)]
        label = path.parent.name
        line = {"path": str(path), "label": label, "split": path.parent.parent.name, "boxes": boxes}
        lines.append(line | {"flips": [False, True, bool(rng.integers(2))]})
    out = tmp_path_factory.mktemp("listed") / "views.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return out, lines


def cut(line, view, size=(32, 32)):
    """What a listed view shows, by Pillow alone: uint8 [3, H, W]."""
    top, left, height, width = line["boxes"][view]
    picture = Image.open(line["path"]).convert("RGB").crop((left, top, left + width, top + height))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    return np.array(ImageOps.mirror(picture) if line["flips"][view] else picture).transpose(2, 0, 1)


def test_a_row_is_one_listed_view_cut_and_mirrored(listed):
    path, lines = listed
    rows = PixelRows(open_source(path), "train", VIEW)
    ours = [line for line in lines if line["split"] == "train"]
    assert (len(rows), rows.views, rows.grid) == (180, 3, (32, 32))
    pixels, labels = rows.batch(np.arange(180))
    assert pixels.dtype == np.uint8
    for row in range(180):
        assert (pixels[row] == cut(ours[row // 3], row % 3)).all()
        assert rows.classes[labels[row]] == ours[row // 3]["label"]
    assert rows.names([4]) == [ours[1]["path"]]


def test_ids_of_the_same_list_stand_in_the_same_order(listed, tmp_path):
    path, _ = listed
    seit.tokenize(path, tmp_path / "tokens", tokenizer="patch4", size=32, views="listed")
    ids, pixels = TokenDataset(tmp_path / "tokens", "val"), PixelRows(open_source(path), "val", VIEW)
    assert (ids.views, len(ids), ids.names(np.arange(72))) == (
        pixels.views,
        len(pixels),
        pixels.names(np.arange(72)),
    )
    assert (ids.labels == pixels.labels).all()
    images = torch.from_numpy(pixels.batch(np.arange(8))[0]).float() / 255
    assert (tokenizers.load("patch4").encode(images).numpy() == ids.tokenizer_ids(np.arange(8))).all()


def test_training_draws_from_within_the_box_of_each_view(listed):
    path, lines = listed
    ours = [line for line in lines if line["split"] == "train"]

    def whole(picture, seed, epoch, position):
        return np.array(picture.resize((32, 32), Image.Resampling.BICUBIC))

    rows = DrawnPixels(open_source(path), whole, (32, 32))
    plan = [Asked(1, np.arange(4), np.array([7, 2, 100, 51]))]
    ((asked, images, _),) = rows.read(plan, seed=0)
    assert asked.epoch == 1
    for row, image in zip((7, 2, 100, 51), images, strict=True):
        difference = image.astype(int) - cut(ours[row // 3], row % 3)
        assert abs(difference).max() <= 1  # mirrored before or after the resize


def test_an_epoch_over_images_takes_one_view_of_each(listed):
    rows = PixelRows(open_source(listed[0]), "train", VIEW)
    read = [labels for _, _, labels in batches(rows, 20, 0, 0, one_view=True)]
    assert sum(map(len, read)) == 60
    assert np.bincount(np.concatenate(read)).tolist() == [20, 20, 20]


def test_selections_of_pixels_are_as_those_of_ids(listed, tokens, shapes):
    ids, pixels = TokenDataset(tokens, "train"), PixelRows(open_source(shapes), "train", VIEW)
    for rows in (ids, pixels):
        tasks = rows.tasks(3)
        assert [len(task) for task in tasks] == [20, 20, 20]
        assert [set(task.labels.tolist()) for task in tasks] == [{0}, {1}, {2}]
        some = rows.with_classes(["stripes", "circle"]).subset(slice(0, 40, 3))
        assert some.names([1, 3]) == rows.names([3, 9])
        assert (some.batch([1, 3])[0] == rows.batch([3, 9])[0]).all()
        assert some.bytes_at([1]).tolist() == rows.bytes_at([3]).tolist()
        assert some.fingerprint() != rows.fingerprint()
        assert len(rows.every(2)) == 30
        ((asked, inputs, _),) = some.read([Asked(2, np.array([5, 6]), np.array([1, 3]))], seed=0)
        assert (asked.epoch, asked.positions.tolist(), asked.rows.tolist()) == (2, [5, 6], [1, 3])
        assert (inputs == rows.batch([3, 9])[0]).all()
        assert (rows[-1][0] == rows.batch([len(rows) - 1])[0][0]).all()
        with pytest.raises(StoreError, match="no class 'cirlce'"):
            rows.with_classes(["cirlce"])
        with pytest.raises(IndexError, match="row 60 of 60"):
            rows.batch([60])
    assert ids.names(np.arange(60)) == pixels.names(np.arange(60))
    whole = PixelRows(open_source(listed[0]), "train", VIEW)
    assert whole.every(2).views == 3
    assert whole.subset([0, 1, 2, 4]).views == 1


def test_a_selection_of_drawn_pixels_is_drawn_too(shapes):
    change, _ = from_file((ResizedCrop(), RandAugment()), (24, 24))
    rows = DrawnPixels(open_source(shapes), change, (24, 24))
    ((_, whole, kinds),) = rows.read([Asked(3, np.arange(2), np.array([21, 40]))], seed=5)
    some = rows.with_classes(["square", "stripes"])
    ((_, part, _),) = some.read([Asked(3, np.arange(2), np.array([1, 20]))], seed=5)
    assert (whole == part).all()
    plain, labels = rows.batch([21])
    assert plain.shape == (1, 3, 24, 24)
    assert labels.tolist() == kinds[:1].tolist()


def test_rows_cost_their_files_bytes_which_views_share(listed, shapes, tmp_path):
    path, lines = listed
    rows = PixelRows(open_source(path), "train", VIEW)
    sizes = [os.path.getsize(line["path"]) for line in lines if line["split"] == "train"]
    assert rows.bytes_at([3, 0]).tolist() == [sizes[1] / 3, sizes[0] / 3]
    assert rows.bytes_at(np.arange(180)).sum() == pytest.approx(sum(sizes))
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        for file in sorted(shapes.rglob("*.*")):
            archive.write(file, file.relative_to(shapes))
    packed, loose = (PixelRows(open_source(one), "val", VIEW) for one in (tmp_path / "shapes.zip", shapes))
    assert (packed.bytes_at(np.arange(24)) == loose.bytes_at(np.arange(24))).all()


def test_fingerprints_tell_other_rows_views_and_classes_apart(listed, shapes):
    source = open_source(shapes)
    made = [
        PixelRows(source, "train", VIEW),
        PixelRows(source, "val", VIEW),
        PixelRows(source, "train", VIEW | {"size": 24}),
        PixelRows(source, "train", VIEW, ["stripes", "square", "circle"]),
        PixelRows(open_source(listed[0]), "train", VIEW),
    ]
    assert len({rows.fingerprint() for rows in made}) == 5
    assert made[0].fingerprint() == PixelRows(open_source(shapes), "train", VIEW).fingerprint()


def test_views_are_decoded_once_and_not_pickled(shapes, monkeypatch):
    rows = PixelRows(open_source(shapes), "val", VIEW)
    first = rows.batch([3, 3, 5])[0]
    assert len(pickle.dumps(rows)) < 100_000
    assert (pickle.loads(pickle.dumps(rows)).batch([3, 3, 5])[0] == first).all()
    monkeypatch.setattr(PixelRows, "_view", None)
    assert (rows.batch([5, 3])[0] == first[::-1][:2]).all()


def test_an_image_without_a_label_has_none_and_takes_no_class_of_another(shapes, tmp_path):
    files = sorted(shapes.rglob("*.png"))
    lines = [{"path": str(file), "label": file.parent.name, "split": "train"} for file in files]
    lines.append({"path": str(files[0].with_name("00.jpg")), "split": "train"})
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = PixelRows(open_source(tmp_path / "some.jsonl"), "train", VIEW)
    assert rows.labels[-1] == -1
    assert rows.labels.min() == -1
    assert len(rows.with_classes(rows.classes)) == len(rows) - 1


def test_wrong_sources_are_refused_in_one_sentence(listed, unlabelled, shapes, tmp_path):
    with pytest.raises(RunError, match="has no labels; give images that lie in class folders"):
        PixelRows(open_source(unlabelled), "train", VIEW)
    with pytest.raises(RunError, match="classes that the classifier does not know: circle, square, stripes"):
        PixelRows(open_source(shapes), "train", VIEW, ["ring"])
    file = next(iter(sorted(shapes.rglob("*.jpg"))))
    line = {"path": str(file), "label": ["circle", "square"], "split": "train"}
    (tmp_path / "two.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(RunError, match="names several classes an image, and pixel rows take one"):
        PixelRows(open_source(tmp_path / "two.jsonl"), "train", VIEW)
    line |= {"boxes": [[0, 0, 41, 5]], "label": "circle"}
    (tmp_path / "out.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ImageError, match=r"the box \[0, 0, 41, 5\] lies outside its 40 x 40 pixels"):
        PixelRows(open_source(tmp_path / "out.jsonl"), "train", VIEW).batch([0])
