"""Folders and archives of one tree give the same images; mistakes give one line that names the place."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image as Picture

from seit.errors import ImageError
from seit.images import Image, decode, open_source

TREE = [f"{split}/{label}/{number}.{ending}"
        for split, label, number, ending in [
            ("train", "cat", 1, "jpg"), ("train", "cat", 2, "JPEG"), ("train", "dog", 1, "png"),
            ("val", "cat", 3, "jpg"), ("val", "dog", 4, "webp"),
        ]]  # fmt: skip


def picture_bytes(name):
    """Bytes that differ per name and decode."""
    colour = tuple(hash_byte % 256 for hash_byte in (len(name) * 7, sum(name.encode()), ord(name[-5])))
    file = io.BytesIO()
    Picture.new("RGB", (5, 4), colour).save(file, "PNG")
    return file.getvalue()


def make_folder(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(name))
    return root


def make_tar(path, names, prefix=""):
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(prefix + name)
            member.size = len(picture_bytes(name))
            tar.addfile(member, io.BytesIO(picture_bytes(name)))
    return path


def make_zip(path, names, compression):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, picture_bytes(name))
    return path


def facts(source):
    return [(image.name, image.split, image.label, image.read()) for image in source]


def test_folder_tar_and_zip_of_one_tree_hold_the_same_images(tmp_path):
    folder = facts(open_source(make_folder(tmp_path / "tree", TREE)))
    assert folder == [
        (name, split, label, picture_bytes(name))
        for name, split, label in zip(
            ["train/cat/1.jpg", "train/cat/2.JPEG", "train/dog/1.png", "val/cat/3.jpg", "val/dog/4.webp"],
            ["train"] * 3 + ["val"] * 2,
            [0, 0, 1, 0, 1],
            strict=True,
        )
    ]
    assert facts(open_source(make_tar(tmp_path / "a.tar", TREE))) == folder
    assert facts(open_source(make_tar(tmp_path / "b.tar", TREE, "./"))) == folder
    assert facts(open_source(make_zip(tmp_path / "a.zip", TREE, zipfile.ZIP_STORED))) == folder
    assert facts(open_source(make_zip(tmp_path / "b.zip", TREE, zipfile.ZIP_DEFLATED))) == folder


def test_a_tar_written_by_the_tar_program_with_long_names_reads_back(tmp_path):
    names = [f"train/{'long-' * 40}class/{'n' * 150}{number}.png" for number in range(3)]
    make_folder(tmp_path / "tree", names)
    assert os.system(f"tar -C '{tmp_path}/tree' -cf '{tmp_path}/x.tar' .") == 0
    assert sorted(row[0] for row in facts(open_source(tmp_path / "x.tar"))) == names


def test_a_source_is_a_sequence(tmp_path):
    source = open_source(make_folder(tmp_path, TREE))
    assert (len(source), source[-1], source[4].name) == (5, source[4], "val/dog/4.webp")
    assert (source.classes, source.splits, source.split_rule) == (["cat", "dog"], {"train": 3, "val": 2}, "folders")
    assert [source[index].split for index in source.split("val")] == ["val", "val"]
    assert source.labels.dtype == np.int64
    assert source.names == [image.name for image in source]
    with pytest.raises(IndexError):
        source[5]


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_images_pickle_so_that_workers_can_read_them(tmp_path, kind):
    if kind == "folder":
        source = open_source(make_folder(tmp_path, TREE))
    elif kind == "tar":
        source = open_source(make_tar(tmp_path / "x.tar", TREE))
    else:
        source = open_source(make_zip(tmp_path / "x.zip", TREE, zipfile.ZIP_DEFLATED))
    image = pickle.loads(pickle.dumps(source[1]))
    assert isinstance(image, Image)
    assert image == source[1]
    assert decode(image.read(), image.name).size == (5, 4)
    assert facts(pickle.loads(pickle.dumps(source))) == facts(source)


def test_other_files_and_hidden_ones_are_left_alone(tmp_path):
    make_folder(tmp_path, TREE)
    for stray in ("notes.txt", "train/cat/._1.jpg", ".cache/x/1.jpg", "train/.DS_Store"):
        (tmp_path / stray).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stray).write_bytes(b"x")
    assert len(open_source(tmp_path)) == 5
    names = [*TREE, "__MACOSX/train/cat/x.jpg", "train/cat/._1.jpg"]
    assert len(open_source(make_tar(tmp_path / "x.tar", names))) == 5


def test_names_that_are_not_ascii_are_kept(tmp_path):
    assert open_source(make_folder(tmp_path, ["Äpfel/ß 1.png", "犬/1.png"])).classes == ["Äpfel", "犬"]


def test_linked_class_folders_are_followed(tmp_path):
    make_folder(tmp_path / "elsewhere", ["cat/1.png", "cat/2.png"])
    make_folder(tmp_path / "tree", ["dog/1.png"])
    (tmp_path / "tree" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    assert open_source(tmp_path / "tree").classes == ["cat", "dog"]


def test_seit_data_is_where_relative_sources_are_looked_for(tmp_path, monkeypatch):
    make_folder(tmp_path / "data" / "mine", TREE)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SEIT_DATA", str(tmp_path / "data"))
    assert len(open_source("mine")) == 5
    make_folder(tmp_path / "here" / "mine", ["a.jpg"])
    assert len(open_source("mine")) == 1  # what lies here goes first


def refusal(src):
    with pytest.raises(ImageError) as caught:
        open_source(src)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_named_with_all_places_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert (
        refusal("no/such") == f"no/such: no such folder, tar or zip (also tried {tmp_path}/no/such); check the path"
    )


def test_an_unknown_embedded_name_gets_its_near_misses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEIT_DATA", raising=False)
    assert refusal("sampel") == (
        "sampel: no such folder, tar or zip; check the path, or name an embedded source: "
        "did you mean 'sample'? known: photos, sample"
    )


def test_an_embedded_name_that_is_also_a_folder_here_is_not_guessed(tmp_path, monkeypatch):
    make_folder(tmp_path / "photos", ["a.png"])
    monkeypatch.chdir(tmp_path)
    assert "write ./photos" in refusal("photos")
    assert len(open_source("./photos")) == 1
    assert len(open_source(tmp_path / "photos")) == 1


def test_an_empty_name_is_refused():
    assert "no source given" in refusal("")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    said = refusal(tmp_path)
    assert said.startswith(
        f"{tmp_path}: no images in it (left out 1 of 1: 1 without a picture's ending (notes.txt))"
    )
    assert "give a folder, tar, zip, table or list of pictures" in said


def test_a_class_in_one_split_only_is_refused_by_name(tmp_path):
    make_folder(tmp_path, [*TREE, "train/emu/1.png"])
    assert "class emu: images in train but none in val" in refusal(tmp_path)


def unreadable(tmp_path):
    """Returns name -> why of the images that cannot be read; the account knows of each before it is."""
    source, reasons = open_source(tmp_path), {}
    for image in source:
        try:
            image.read()
        except ImageError as error:
            reasons[image.name] = error.what
    known = {name for group in source.account.unreadable.values() for name in group.names}
    assert known == {*reasons}
    assert source.account.total == len(source)
    return reasons


def test_a_broken_link_is_listed_and_cannot_be_read(tmp_path):
    make_folder(tmp_path, TREE)
    (tmp_path / "train/cat/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert unreadable(tmp_path) == {"train/cat/gone.jpg": "not a regular file (a broken link?)"}


def test_a_pipe_named_like_a_picture_does_not_hang(tmp_path):
    make_folder(tmp_path, TREE)
    os.mkfifo(tmp_path / "train/cat/pipe.jpg")
    assert list(unreadable(tmp_path)) == ["train/cat/pipe.jpg"]
    (tmp_path / "list.csv").write_text("path\ntrain/cat/pipe.jpg\n")
    with pytest.raises(ImageError, match="not a regular file"):
        open_source(tmp_path / "list.csv")[0].read()


def test_a_link_back_up_is_refused_not_followed_for_ever(tmp_path):
    make_folder(tmp_path, TREE)
    (tmp_path / "train/cat/loop").symlink_to(tmp_path / "train")
    assert "leads back to a folder above it" in refusal(tmp_path)


def test_a_name_that_is_not_utf8_is_spelt_out_and_cannot_be_read(tmp_path):
    make_folder(tmp_path, TREE)
    try:
        with open(os.fsencode(tmp_path) + b"/train/cat/\xff.jpg", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert unreadable(tmp_path) == {"train/cat/\\xff.jpg": "its name is not UTF-8"}


def test_a_file_that_vanishes_after_listing_is_named(tmp_path):
    source = open_source(make_folder(tmp_path, TREE))
    (tmp_path / source[0].name).unlink()
    with pytest.raises(ImageError, match=r"train/cat/1\.jpg: cannot be read \(No such file"):
        source[0].read()
