"""A store of several views holds the boxes that it says, a label of each, and can be repaired from the images."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizing_stores import AS_SHAPES

import seit
from seit import tokenizers
from seit.errors import ImageError, StoreError
from seit.store import TokenDataset
from seit.tokenizing.again import reopened
from seit.verbs import show


@pytest.fixture(scope="module")
def crops(shapes, tmp_path_factory):
    """Three random crops of each shape. Read only."""
    out = tmp_path_factory.mktemp("crops") / "crops.tokens"
    seit.tokenize(shapes, out, views="crops:3", seed=2, **AS_SHAPES)
    return out


def test_each_row_is_the_crop_that_its_side_table_names(shapes, crops):
    data, tokenizer = TokenDataset(crops), tokenizers.load("patch4")
    rows = data.rows_at(np.arange(len(data)))
    assert (len(data), data.views) == (252, 3)
    assert rows.name[:4] == ["train/circle/00.jpg"] * 3 + ["train/circle/01.png"]
    assert (data.labels.reshape(84, 3) == data.labels.reshape(84, 3)[:, :1]).all()
    assert len({tuple(box) for box in rows.crop}) > 200
    for row in (0, 1, 5, 100, 251):
        top, left, height, width = rows.crop[row].tolist()
        picture = Image.open(shapes / rows.name[row]).convert("RGB").crop((left, top, left + width, top + height))
        view = np.array(picture.resize((32, 32), Image.Resampling.BICUBIC))
        view = view[:, ::-1].copy() if rows.flip[row] else view
        with torch.inference_mode():
            ids = tokenizer.encode(torch.from_numpy(view).permute(2, 0, 1)[None] / 255)[0].numpy()
        assert (data.tokenizer_ids([row])[0] == ids).mean() > 0.98  # another shape of batch moves a near tie


def test_show_draws_the_stored_crop_beside_what_it_decodes_to(shapes, crops, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(show, "write_sheet", lambda path, tiles, *more, **rest: drawn.extend(tiles))
    names = seit.show(crops, tmp_path / "a.png", rows=40)["rows"]
    data = TokenDataset(crops)
    rows = data.rows_at(np.random.default_rng(0).permutation(len(data))[:40])
    boxes = {(name, tuple(box)) for name, box in zip(rows.name, rows.crop.tolist(), strict=True)}
    assert len(drawn) == len(names) == 40
    for tile in drawn:
        found = []
        for name, (top, left, height, width) in boxes:
            if name == tile.caption[0]:
                picture = Image.open(shapes / name).convert("RGB").crop((left, top, left + width, top + height))
                found.append(np.array(picture.resize((32, 32), Image.Resampling.BICUBIC)))
        assert any((tile.pictures[0] == view).all() for view in found)


def test_images_on_another_machine_are_opened_only_where_the_user_names_them():
    with pytest.raises(ImageError, match=r"s3://bucket/x: lie on another machine; name them: --source"):
        reopened({"name": "s3://bucket/x"})


def test_info_says_which_augmentations_are_frozen(crops, undisturbed, cli):
    assert "frozen into the data set: 3 random resized crops of each image (seed 2)" in cli("info", crops).out
    assert "frozen into the data set: none" in cli("info", undisturbed).out


def test_the_page_of_a_run_says_which_augmentations_are_frozen(crops, tmp_path):
    seit.train(crops, tmp_path / "run", settings={"epochs": "1", "batch_size": "60", "warmup_epochs": "0"})
    page = (tmp_path / "run" / "report.html").read_text()
    assert "frozen into the data: 3 random resized crops of each image (seed 2)" in page


@pytest.fixture
def labelled(shapes, tmp_path):
    """A list of two boxes an image, each with a class of its own."""
    lines = [
        {
            "path": str(path),
            "label": [path.parent.name, "background"],
            "boxes": [[0, 0, 40, 40], [0, 0, 20, 30]],
            "flips": [False, True],
            "split": path.parts[-3],
        }
        for path in sorted(shapes.rglob("*0?.*"))
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "list.jsonl"


def test_a_list_may_give_boxes_and_a_label_of_each(labelled, undisturbed, tmp_path):
    seit.tokenize(labelled, tmp_path / "out", views="listed", **AS_SHAPES)
    data, whole = TokenDataset(tmp_path / "out"), TokenDataset(undisturbed)
    rows = data.rows_at(np.arange(len(data)))
    assert data.classes == ["background", "circle", "square", "stripes"]
    assert set(data.labels[1::2].tolist()) == {0}
    assert [data.classes[label] for label in data.labels[::2]] == [name.split("/")[-2] for name in rows.name[::2]]
    assert rows.crop[1].tolist() == [0, 0, 20, 30]
    assert rows.flip[:2].tolist() == [False, True]
    names = whole.names(np.arange(len(whole)))
    place = next(i for i, name in enumerate(names) if rows.name[0].endswith(name))
    assert (data.tokenizer_ids([0])[0] == whole.tokenizer_ids([place])[0]).mean() > 0.98


def test_labels_that_fit_no_views_are_refused(labelled, tmp_path):
    with pytest.raises(ImageError, match="gives 2 labels an image, but 3 views are stored"):
        seit.tokenize(labelled, tmp_path / "out", views="crops:3", **AS_SHAPES)
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("side_table", [False, True])
def test_views_are_repaired_also_where_bad_images_were_left_out(shapes, side_table, tmp_path):
    pictures = shutil.copytree(shapes, tmp_path / "pictures")
    (pictures / "train" / "circle" / "02.jpg").write_bytes(b"")
    out = tmp_path / "out"
    seit.tokenize(pictures, out, views="crops:2", on_error="skip", **AS_SHAPES)
    before = TokenDataset(out)
    ids, rows = before.tokenizer_ids(np.arange(len(before))), before.rows_at(np.arange(len(before)))
    lost = next(path for path in out.glob("train-*.arrow") if (".rows." in path.name) == side_table)
    lost.unlink()
    repaired = seit.repair(out)["repaired"]
    assert lost.name in [one["file"] for one in repaired]
    assert sum(one["changed"] for one in repaired) <= 2  # a near tie in another batch
    after = TokenDataset(out)
    again = after.rows_at(np.arange(len(after)))
    assert (after.tokenizer_ids(np.arange(len(after))) == ids).mean() > 0.98
    assert again.name == rows.name
    assert (again.crop == rows.crop).all()


def test_lost_names_cannot_be_told_without_the_report_of_what_was_left_out(shapes, tmp_path):
    pictures = shutil.copytree(shapes, tmp_path / "pictures")
    (pictures / "train" / "circle" / "02.jpg").write_bytes(b"")
    seit.tokenize(pictures, tmp_path / "out", on_error="skip", **AS_SHAPES)
    next((tmp_path / "out").glob("train-*.rows.arrow")).unlink()
    (tmp_path / "out.quarantine.jsonl").unlink()
    with pytest.raises(StoreError, match="the report of the images that were skipped"):
        seit.repair(tmp_path / "out")
