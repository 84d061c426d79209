"""Samples of tars: WebDataset's rule where it is unambiguous, and nothing lost in silence where it is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pictures import png, write_tar

from seit.errors import ImageError
from seit.images import open_source
from seit.images.account import OVERWRITTEN, SECOND, UNUSED


def facts(source):
    """Returns picture -> class."""
    return {image.read(): source.classes[image.label] if image.label >= 0 else None for image in source}


def cls(number):
    return str(number % 2).encode()


def test_plain_samples_are_those_of_the_webdataset_package(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path / "x.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for i in range(12):
            writer.write(
                {"__key__": f"sub.folder/{i:04d}", "jpg": png(20 * i, "JPEG"), "cls": i % 3, "json": {"n": i}}
            )
    theirs = {
        sample["jpg"]: sample["cls"].decode() for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }
    source = open_source(path)
    assert facts(source) == theirs
    assert source.account.labels == "members .cls"
    assert source.account.left_out[UNUSED].endings == {".json": 12}


@pytest.mark.parametrize("pattern", ["IMG_2024.{:03d}", "22.{:02d}", "v1.2.{}", "{}.final"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_dots_in_names_are_part_of_the_key_where_pictures_would_share_one(pattern, as_folder, tmp_path):
    members = {}
    for i in range(10):
        members |= {f"{pattern.format(i)}.jpg": png(i), f"{pattern.format(i)}.cls": cls(i)}
    path = write_tar(tmp_path / "shards/a.tar", members)
    source = open_source(path.parent if as_folder else path)
    assert facts(source) == {png(i): str(i % 2) for i in range(10)}
    assert source.account.total == 21
    assert not source.account.left_out


def test_some_dotted_keys_among_plain_ones(tmp_path):
    keys = [f"img{i:02d}" if i < 8 else f"img08.{i:02d}" for i in range(12)] + ["img07.1"]
    members = {}
    for i, key in enumerate(keys):
        members |= {f"{key}.jpg": png(i), f"{key}.cls": cls(i)}
    assert facts(open_source(write_tar(tmp_path / "a.tar", members))) == {png(i): str(i % 2) for i in range(13)}


def test_pictures_without_labels_are_all_read(tmp_path):
    write_tar(tmp_path / "shards/a.tar", {f"v1.{i}.jpg": png(i) for i in range(10)})
    source = open_source(tmp_path / "shards")
    assert facts(source) == {png(i): None for i in range(10)}
    assert source.classes == []


@pytest.mark.parametrize("order", [["mask.png", "png"], ["png", "mask.png"], ["thumb.jpg", "png", "mask.png"]])
def test_the_plain_picture_of_a_sample_goes_before_masks_and_thumbnails(order, tmp_path):
    members = {}
    for i in range(8):
        pictures = {ending: png(i if ending == "png" else 100 + i) for ending in order}
        members |= {f"{i:04d}.{ending}": data for ending, data in (pictures | {"cls": cls(i)}).items()}
    source = open_source(write_tar(tmp_path / "a.tar", members))
    assert facts(source) == {png(i): str(i % 2) for i in range(8)}
    left = source.account.left_out[SECOND]
    assert left.endings == {f".{ending}": 8 for ending in order if ending != "png"}
    masks = open_source(tmp_path / "a.tar", image_column="mask.png") if "mask.png" in order else None
    assert masks is None or masks.names[0].endswith("mask.png")


def test_of_two_plain_pictures_the_account_says_which_was_taken(tmp_path):
    members = {}
    for i in range(4):
        members |= {f"{i}.png": png(50 + i), f"{i}.jpg": png(i), f"{i}.cls": cls(i)}
    source = open_source(write_tar(tmp_path / "a.tar", members))
    assert facts(source) == {png(i): str(i % 2) for i in range(4)}
    assert "pictures are members .jpg, not .png (--image-column)" in source.account.lines()[0]


def test_several_pictures_none_of_which_is_plain_are_refused_with_their_endings(tmp_path):
    members = {"1.left.jpg": png(1), "1.right.jpg": png(2), "1.cls": b"0"}
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(
        ImageError, match=r"1: holds several pictures \(\.left\.jpg, \.right\.jpg\); give --image-column"
    ):
        open_source(path)
    assert facts(open_source(path, image_column="right.jpg")) == {png(2): "0"}


def test_members_of_a_sample_need_not_lie_side_by_side(tmp_path):
    pictures = {f"{i}.jpg": png(i) for i in range(6)}
    path = write_tar(tmp_path / "a.tar", pictures | {f"{i}.cls": cls(i) for i in range(6)})
    assert facts(open_source(path)) == {png(i): str(i % 2) for i in range(6)}


def test_labels_without_pictures_and_members_that_nothing_reads_are_named(tmp_path):
    members = {"1.jpg": png(1), "1.cls": b"3", "2.cls": b"4", "1.npy": b"x", "1.txt": b"a cat"}
    account = open_source(write_tar(tmp_path / "a.tar", members)).account
    assert account.left_out[UNUSED].endings == {".cls": 1, ".npy": 1, ".txt": 1}
    assert account.total == 6


def test_labels_in_json_by_usual_keys_and_those_that_are_none(tmp_path):
    for key, cell, expected in (
        ("label", 3, "3"),
        ("Class Name", "cat", "cat"),
        ("target", 2.0, "2"),
        ("label", -1, None),
    ):
        path = write_tar(
            tmp_path / "a.tar", {"1.jpg": png(1), "1.json": json.dumps({"url": "x", key: cell}).encode()}
        )
        assert facts(open_source(path)) == {png(1): expected}
    path = write_tar(tmp_path / "a.tar", {"1.jpg": png(1), "1.json": b'{"label": {"a": 1}}'})
    with pytest.raises(ImageError, match=r"a\.tar: 1\.json, key 'label': .* is not a class"):
        open_source(path)
    path = write_tar(tmp_path / "a.tar", {"1.jpg": png(1), "1.json": b'{"label": [3, 5]}'})
    assert open_source(path).several == [[0, 1]]


def test_a_label_that_is_asked_for_and_nowhere_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": png(1), "1.json": b'{"caption": "cat"}', "1.txt": b"cat"})
    assert "no labels among" in open_source(tmp_path).account.lines()[0]
    with pytest.raises(ImageError, match=r"no sample has a member or JSON key 'captoin'; .*did you mean 'caption'"):
        open_source(path, label_column="captoin")
    assert open_source(path, label_column="caption").classes == ["cat"]
    assert open_source(path, label_column="txt").classes == ["cat"]


def test_folders_inside_tars_name_classes_and_the_tars_splits(tmp_path):
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        members = {f"{kind}/{i}.jpg": png(10 * i + k) for k, kind in enumerate(("cat", "dog")) for i in numbers}
        write_tar(tmp_path / f"{split}.tar", members)
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog"]
    assert source.splits == {"train": 8, "val": 4}
    assert source.account.total == 14


def test_a_member_that_a_later_one_replaces_is_named(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a/1.jpg": png(1), "b/1.jpg": png(2)})
    data = path.read_bytes()
    end = data.rstrip(b"\0")
    second = write_tar(tmp_path / "b.tar", {"a/1.jpg": png(9)}).read_bytes()
    path.write_bytes(data[: -(-len(end) // 512) * 512] + second)
    source = open_source(path)
    assert source.account.left_out[OVERWRITTEN].names == ["a/1.jpg"]
    assert {image.read() for image in source} == {png(9), png(2)}
    assert np.array_equal(source.labels, [0, 1])
