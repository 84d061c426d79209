"""Everything that lies in a source is counted once: as an image, a label, a container, or left out for a reason."""

from __future__ import annotations

import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import png, write_files, write_tar

from seit import progress
from seit.errors import ImageError
from seit.images import open_source
from seit.images.account import BESIDE, HIDDEN, OTHER, OTHER_KIND, UNDECODABLE, UNSORTED, Account
from seit.images.saved import load_listing, save_listing

PNG = png()
# Made trees may be refused; an account that is returned has to add up.
MADE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FOLDERS = st.lists(st.sampled_from(["train", "val", "test", "cat", "dog", "extra", ".cache"]), max_size=3)
NAMES = st.sampled_from(
    ["1.jpg", "2.JPEG", "3.jfif", "4.pnm", "5.heic", "6.txt", "Thumbs.db", ".DS_Store", "photo", "7.cr2", "x.tar"]
)


def lists(source):
    """Returns the account of a source, or None where it is refused."""
    try:
        return open_source(source, for_training=False).account
    except ImageError:
        return None


@MADE
@given(st.dictionaries(st.tuples(FOLDERS.map(tuple), NAMES), st.booleans(), min_size=1, max_size=25))
def test_every_file_of_a_tree_is_counted_once(tmp_path_factory, made):
    root = tmp_path_factory.mktemp("tree")
    tar = root / "made.tar.bytes"
    write_tar(tar, {"a/9.png": PNG})
    empty = tar.read_bytes()
    tar.unlink()
    write_files(
        root,
        {"/".join([*folder, name]): empty if name == "x.tar" else PNG for folder, name in made if folder or name},
    )
    account = lists(root)
    if account is not None:
        files = [path for path in root.rglob("*") if path.is_file()]
        members = account.containers  # each made tar that is read holds one member
        assert account.total == len(files) + members
        assert account.images == sum(account.splits.values())


ENDINGS = st.sampled_from(["jpg", "png", "mask.png", "cls", "json", "txt", "1.jpg", "1.cls", "2.jpg", "npy"])
DATA = {"cls": b"3", "json": b'{"label": "cat", "x": 1}', "txt": b"a caption"}


@MADE
@given(st.sets(st.tuples(st.sampled_from(["a", "b", "sub/c", ".d"]), ENDINGS), min_size=1, max_size=25))
def test_every_member_of_a_tar_is_counted_once(tmp_path_factory, made):
    members = {f"{key}.{ending}": DATA.get(ending.rpartition(".")[2], PNG) for key, ending in made}
    path = write_tar(tmp_path_factory.mktemp("tar") / "x.tar", members)
    account = lists(path)
    if account is not None:
        with tarfile.open(path) as tar:
            assert account.total == len(tar.getmembers()) + 1
    folder = lists(path.parent)
    if folder is not None:
        assert folder.total == len(members) + 1


CELLS = st.one_of(st.none(), st.integers(-1, 3), st.sampled_from(["cat", "dog", "", "nan", "NA"]))


@MADE
@given(
    st.lists(st.tuples(CELLS, st.sampled_from(["train", "val", "test", None])), min_size=1, max_size=20),
    st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_every_row_of_a_table_is_counted_once(tmp_path_factory, rows, kind):
    path = tmp_path_factory.mktemp("table") / f"x.{kind}"
    blank = 0
    if kind == "parquet":
        labels = [None if label is None else str(label) for label, _ in rows]
        pq.write_table(pa.table({"image": [PNG] * len(rows), "label": labels, "split": [s for _, s in rows]}), path)
    elif kind == "jsonl":
        lines = [json.dumps({"path": f"{i}.png", "label": row[0], "split": row[1]}) for i, row in enumerate(rows)]
        path.write_text("\n\n".join(lines) + "\n")
        blank = len(rows) - 1
    else:
        lines = [f"{i}.png,{'' if row[0] is None else row[0]},{row[1] or ''}" for i, row in enumerate(rows)]
        path.write_text("path,label,split\n" + "\n,,\n".join(lines) + "\n")
        blank = len(rows) - 1
    account = lists(path)
    assert account is not None
    assert account.total == len(rows) + blank + 1
    missing = sum(label in (None, -1, "", "nan", "NA") for label, split in rows if split != "test")
    held = {split for _, split in rows} & {"val", "test"}
    if "val" in held or "test" not in held:
        taken = [row for row in rows if row[1] != "test"]
        assert account.images == len(taken)
        assert account.unlabelled.count in (missing, 0)
        assert (account.unlabelled.count == 0) <= (missing == 0 or account.classes == 0)


@pytest.fixture
def mixed(tmp_path):
    """A folder of class folders with everything that people leave in one."""
    names = [f"{split}/{kind}/{i}.jpg" for split in ("train", "val") for kind in ("cat", "dog") for i in range(9)]
    odd = ["train/cat/a.heic", "train/dog/b.NEF", "val/cat/notes.txt", "extra/c.jpg", "train/stray.jpg", ".git/d"]
    write_files(tmp_path / "mixed", dict.fromkeys([*names, *odd], PNG))
    write_tar(tmp_path / "mixed/old.tar", {"x/1.jpg": PNG})
    return tmp_path / "mixed"


def test_the_account_names_by_reason_ending_and_folder(mixed):
    account = open_source(mixed).account
    left = {reason: group.names for reason, group in account.left_out.items()}
    assert {reason: sorted(names) for reason, names in left.items()} == {
        UNDECODABLE: ["train/cat/a.heic", "train/dog/b.NEF"],
        OTHER: ["val/cat/notes.txt"],
        BESIDE: ["extra/c.jpg"],
        UNSORTED: ["train/stray.jpg"],
        HIDDEN: [".git/d"],
        OTHER_KIND: ["old.tar"],
    }
    assert account.left_out[UNDECODABLE].endings == {".heic": 1, ".nef": 1}
    assert account.left_out[UNDECODABLE].folders == {"train/cat": 1, "train/dog": 1}
    found, left_out = account.lines()
    assert found == f"found 36 images of {mixed}: 18 train, 18 val (folders); 2 classes by folder names"
    assert left_out.startswith("left out 7 of 43: ")
    for word in ("train/cat/a.heic", "notes.txt", "extra/c.jpg", "train/stray.jpg", "old.tar"):
        assert word in left_out


def test_many_are_told_by_ending_and_folder(tmp_path):
    write_files(tmp_path, {f"{kind}/{i}.jpg": PNG for kind in ("cat", "dog") for i in range(3)})
    write_files(tmp_path, {f"cat/{i}.heic": PNG for i in range(40)})
    assert (
        "40 of an ending that is not decoded here (.heic 40; in cat 40)" in open_source(tmp_path).account.lines()[1]
    )


def test_quiet_hushes_an_account_only_where_nothing_is_lost(mixed, tmp_path, capsys):
    clean = write_files(tmp_path / "clean", {f"{kind}/1.jpg": PNG for kind in ("cat", "dog")})
    try:
        progress.quiet()
        open_source(clean).account.tell()
        assert capsys.readouterr().err == ""
        open_source(mixed).account.tell()
        assert len(capsys.readouterr().err.splitlines()) == 2
    finally:
        progress.quiet(False)
    open_source(clean).account.tell()
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_account_goes_through_json_and_a_saved_listing(mixed, tmp_path):
    source = open_source(mixed)
    saved = json.loads(json.dumps(source.account.to_json()))
    assert Account().fill(saved) == source.account
    save_listing(source, tmp_path / "listing.arrow", "key")
    account = Account()
    assert load_listing(tmp_path / "listing.arrow", "key", account).account is account
    assert account == source.account


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat/1.jpg", "dog/1.jpg", "owl/1.heic", "owl/2.cr2"], "owl: none of its 2 pictures is decoded here"),
        (["train/cat/1.jpg", "train/owl/2.jpg", "val/cat/1.jpg", "val/owl/1.jxl"], "class owl: images in train"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/1.heic"], "val/cat: none of its 1 pictures"),
        (["train/1.jpg", "train/2.jpg", "val/1.svg"], "val: none of its 1 pictures"),
    ],
)
def test_a_class_or_split_that_would_vanish_is_an_error(names, said, tmp_path):
    write_files(tmp_path, dict.fromkeys(names, PNG))
    with pytest.raises(ImageError) as caught:
        open_source(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_of_papers_are_no_classes(tmp_path):
    write_files(tmp_path, dict.fromkeys(["cat/1.jpg", "dog/1.jpg", "annotations/1.xml", "docs/read.me"], PNG))
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog"]
    assert source.account.left_out[OTHER].folders == {"annotations": 1, "docs": 1}


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG", "pnm", "webp", "jp2", "tga", "apng", "dib", "mpo", "qoi"])
def test_every_ending_of_pillows_photo_formats_is_read(ending, tmp_path):
    write_files(tmp_path, {f"cat/1.{ending}": PNG, "dog/1.png": PNG})
    assert open_source(tmp_path).classes == ["cat", "dog"]


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.jpg?w=600", "IMG.1"])
def test_a_picture_without_a_usual_ending_is_told_by_its_first_bytes(name, tmp_path):
    write_files(tmp_path, {f"cat/{name}": PNG, "dog/1.png": PNG, "dog/LICENSE": b"Permission is hereby granted"})
    source = open_source(tmp_path)
    assert source.names == [f"cat/{name}", "dog/1.png"]
    assert source.account.left_out[OTHER].names == ["dog/LICENSE"]
