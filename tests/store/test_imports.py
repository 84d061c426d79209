"""What other libraries' files hold becomes a token data set, and what we exported comes back whole."""

import gzip
import io
import os
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stores

import seit
from seit.errors import StoreError
from seit.store import RowTable, TokenDataset, chunks
from seit.store.writer import TokenWriter


@pytest.mark.parametrize("to", ["npy", "parquet", "webdataset"])
def test_what_convert_exports_it_imports_again(tmp_path, to):
    path, ids, labels = stores.make(tmp_path / "a")
    seit.convert(path, tmp_path / to, to=to)
    seit.convert(tmp_path / to, tmp_path / "b", codec="zero-order")
    a, b = TokenDataset(path), TokenDataset(tmp_path / "b")
    assert (b.tokenizer_ids(np.arange(52)) == ids).all()
    assert (b.labels == labels).all()
    assert (b.codebook == a.codebook).all()
    assert b.splits == a.splits == {"train": 40, "val": 12}
    assert b.names(np.arange(52)) == a.names(np.arange(52))
    for same in ("tokenizer", "classes", "full_vocabulary", "views"):
        assert getattr(a, same) == getattr(b, same), same
    assert b.source["terms"] == a.source["terms"]


@pytest.mark.parametrize("kind", ["none", "multi", "soft"])
def test_arrays_keep_every_kind_of_labels_and_views(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(chunks, "CELLS", 64 * 4)  # parts would cut an image's three views apart
    rng = np.random.default_rng(1)
    multi = rng.random((12, 2)) < 0.5
    labels = {"none": None, "multi": multi, "soft": (multi * rng.random((12, 2))).astype(np.float32)}[kind]
    w = stores.writer(tmp_path / "a", views=3)
    w.write(0, "train", stores.random_ids(12), labels, stores.table(12))
    seit.convert(w.commit(), tmp_path / "npy", to="npy")
    seit.convert(tmp_path / "npy", tmp_path / "b", codec="zero-order")
    data = TokenDataset(tmp_path / "b")
    assert (data.label_kind, data.views) == (kind, 3)
    assert data.labels is None if labels is None else (data.labels == labels).all()


ODD = ["a\u2028b", "c\x85d", "e\x0bf", " g ", "h\ri", "j\r", "\ufeffk", "ü/漢.jpg", "l\tm", ""]


@pytest.mark.parametrize("to", ["npy", "parquet", "webdataset"])
def test_names_come_back_to_the_last_character(tmp_path, to):
    w = stores.writer(tmp_path / "a")
    w.write(0, "train", stores.random_ids(len(ODD)), None, RowTable.named(ODD))
    seit.convert(w.commit(), tmp_path / to, to=to)
    seit.convert(tmp_path / to, tmp_path / "b", codec="zero-order")
    assert TokenDataset(tmp_path / "b").names(range(len(ODD))) == ODD


def test_names_with_line_breaks_and_backslashes_come_back_from_a_list_of_lines(tmp_path):
    names = ["one\ntwo", "three\\n", "four\\", "five\u2028six"]
    w = stores.writer(tmp_path / "a")
    w.write(0, "train", stores.random_ids(4), None, RowTable.named(names))
    seit.convert(w.commit(), tmp_path / "npy", to="npy")
    seit.convert(tmp_path / "npy", tmp_path / "b")
    assert TokenDataset(tmp_path / "b").names(range(4)) == names


# Files of other programs


def tar_of(path, members):
    """Writes a tar of (name, array or bytes)."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            if isinstance(data, np.ndarray):
                npy = io.BytesIO()
                np.save(npy, data)
                data = npy.getvalue()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def foreign(folder, kind, ids, labels, split="train"):
    """Writes ids and labels (None: no label) as another program would, without `seit.json`."""
    folder.mkdir(exist_ok=True)
    if kind == "npy":
        (folder / split).mkdir()
        np.save(folder / split / "ids.npy", ids.astype(np.int64))
        if labels is not None:
            np.save(folder / split / "labels.npy", np.asarray(labels))
    elif kind == "parquet":
        table = {"ids": ids.reshape(len(ids), -1).tolist(), "more": list(range(len(ids)))}
        table |= {} if labels is None else {"label": pa.array(labels)}
        pq.write_table(pa.table(table), folder / f"{split}-00000-of-00001.parquet")
    else:
        members = []
        for i, row in enumerate(ids):
            key = f"some.dir/x{i}"
            label = None if labels is None else labels[i]
            members += [(f"{key}.jpg", b"a picture beside"), (f"{key}.npy", row)]
            members += [] if label is None else [(f"{key}.cls", f"{label}\n".encode())]
        tar_of(folder / f"{split}-000.tar", members)


KINDS = ["npy", "parquet", "webdataset"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_programs_are_read_as_they_are(tmp_path, kind):
    ids, labels = stores.random_ids(30, vocabulary=300), np.arange(30) % 7
    foreign(tmp_path / "in", kind, ids, labels)
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    data = TokenDataset(tmp_path / "out", "train")
    assert (data.tokenizer_ids(np.arange(30)) == ids).all()
    assert data.labels.tolist() == labels.tolist()
    assert data.classes == [str(i) for i in range(7)]
    assert data.tokenizer["name"] == "unknown"
    assert data.codebook is None


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_are_names_become_classes(tmp_path, kind):
    names = ["dog", "cat", "ant", "cat"]
    foreign(tmp_path / "in", kind, stores.random_ids(4), names)
    foreign(tmp_path / "in", kind, stores.random_ids(2), ["emu", "ant"], "val")
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    data = TokenDataset(tmp_path / "out")
    assert data.classes == ["ant", "cat", "dog", "emu"]
    assert [data.classes[label] for label in data.labels] == [*names, "emu", "ant"]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_are_names_are_looked_up_where_classes_are_known(tmp_path, kind):
    path, _, _ = stores.make(tmp_path / "a")
    foreign(tmp_path / "in", kind, stores.random_ids(3), ["dog", "cat", "dog"])
    seit.convert(path, tmp_path / "npy", to="npy")
    shutil.copy(tmp_path / "npy" / "seit.json", tmp_path / "in")
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    data = TokenDataset(tmp_path / "out")
    assert (data.classes, data.labels.tolist()) == (["cat", "dog"], [1, 0, 1])
    foreign(tmp_path / "other", kind, stores.random_ids(3), ["dog", "cta", "dog"])
    shutil.copy(tmp_path / "npy" / "seit.json", tmp_path / "other")
    with pytest.raises(StoreError, match=r"there is no class 'cta'; did you mean 'cat'"):
        seit.convert(tmp_path / "other", tmp_path / "none", codec="zero-order")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1.0, float("nan"), 0.0], [1, -1, 0]),
        ([1, None, 0], [1, -1, 0]),
        (["cat", None, "ant"], [1, -1, 0]),
        (["cat", "", "ant"], [1, -1, 0]),
    ],
)
def test_a_missing_label_is_unknown_not_a_class(tmp_path, labels, expected):
    foreign(tmp_path / "in", "parquet", stores.random_ids(3), labels)
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    data = TokenDataset(tmp_path / "out")
    assert data.labels.tolist() == expected
    assert len(data.classes) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_splits_without_a_label_are_kept_beside_those_with_one(tmp_path, kind):
    foreign(tmp_path / "in", kind, stores.random_ids(3), [1, 0, 1])
    foreign(tmp_path / "in", kind, stores.random_ids(4), None, "test")
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    assert TokenDataset(tmp_path / "out", "train").labels.tolist() == [1, 0, 1]
    assert TokenDataset(tmp_path / "out", "test").labels.tolist() == [-1] * 4


def test_class_names_that_datasets_wrote_are_kept(tmp_path):
    path, _, labels = stores.make(tmp_path / "a")
    seit.convert(path, tmp_path / "parquet", to="parquet")
    (tmp_path / "parquet" / "seit.json").unlink()
    seit.convert(tmp_path / "parquet", tmp_path / "b", codec="zero-order")
    data = TokenDataset(tmp_path / "b")
    assert data.classes == ["cat", "dog"]
    assert (data.labels == labels).all()


def test_lists_of_lists_and_dictionaries_are_read(tmp_path):
    ids = stores.random_ids(4)
    labels = pa.array(["b", "a", "b", None]).dictionary_encode()
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"ids": ids.tolist(), "label": labels}), tmp_path / "in" / "val.parquet")
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    data = TokenDataset(tmp_path / "out", "val")
    assert (data.tokenizer_ids(np.arange(4)) == ids).all()
    assert data.labels.tolist() == [1, 0, 1, -1]


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train-000.tar", "train"),
        ("imagenet-val-000001.tar", "imagenet-val"),
        ("my-test.tar", "my-test"),
        ("00000.tar", "train"),
        ("val2017.tar", "val2017"),
    ],
)
def test_a_split_is_what_its_files_are_called(tmp_path, file, split):
    (tmp_path / "in").mkdir()
    tar_of(tmp_path / "in" / file, [("a.npy", stores.random_ids(1)[0])])
    seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    assert TokenDataset(tmp_path / "out").splits == {split: 1}


def test_dots_in_the_names_of_tar_members_lose_no_row(tmp_path):
    ids = stores.random_ids(12)
    mixed, dotted = tmp_path / "mixed", tmp_path / "dotted"
    mixed.mkdir()
    dotted.mkdir()
    tar_of(mixed / "train.tar", [(f"img{i}{'.v2' * (i % 2)}.npy", ids[i]) for i in range(12)])
    members = [(f"IMG.{i:04d}.npy", ids[i]) for i in range(12)] + [(f"IMG.{i:04d}.cls", b"1") for i in range(12)]
    tar_of(dotted / "train.tar", members)
    for folder in (mixed, dotted):
        seit.convert(folder, tmp_path / f"{folder.name}.tokens", codec="zero-order")
        data = TokenDataset(tmp_path / f"{folder.name}.tokens")
        assert (data.tokenizer_ids(np.arange(12)) == ids).all()
    assert data.labels.tolist() == [1] * 12
    assert data.names([3]) == ["IMG.0003"]


def write_files(folder, files):
    """Writes a foreign folder: path -> array, columns, members of a tar, or bytes."""
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, bytes):
            path.write_bytes(value)
        elif path.suffix == ".npy":
            np.save(path, value)
        elif path.suffix == ".parquet":
            pq.write_table(pa.table(value), path)
        else:
            tar_of(path, value)


def hostile_npy():
    """A header that claims 16 TB."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<i8", "fortran_order": False, "shape": (1 << 41,)})
    return out.getvalue()


GRID = np.zeros((2, 4, 4), np.int64)
FLAT = GRID.reshape(2, -1).tolist()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/ids.npy": np.full((2, 4, 4), np.nan)}, "train/ids.npy: ids are float64"),
        ({"train/ids.npy": GRID - 1}, "ids run from -1 to -1"),
        ({"train/ids.npy": np.zeros(9, int)}, r"ids are int64 \[9\]"),
        ({"train/ids.npy": np.zeros((2, 7), int)}, "rows of 7 ids are no square grid"),
        (
            {"train/ids.npy": GRID, "val/ids.npy": np.zeros((2, 3, 3), int)},
            r"\[3, 3\] a row, others \[4, 4\]",
        ),
        (
            {"train/ids.npy": GRID, "train/labels.npy": np.array([0.5, 1])},
            "give each row a class number or",
        ),
        (
            {"train/ids.npy": GRID, "train/labels.npy": np.array([True, False])},
            "give each row a class number",
        ),
        ({"train/ids.npy": GRID, "train/labels.npy": np.array([0, -2])}, "labels run from -2 to 0"),
        (
            {"train/ids.npy": GRID, "val/labels.npy": np.array([0, 1])},
            "val/labels.npy: has no ids.npy beside",
        ),
        ({"train/ids.npy": GRID, "train/names.txt": b"a\nb\nc\n"}, "names.txt: has 3 rows, ids.npy 2"),
        ({"train/ids.npy": GRID, "train/names.txt": b"\xff\n\n"}, "names.txt: cannot be read"),
        (
            {"train/ids.npy": GRID, "val.tar": [("a.npy", GRID[0])]},
            r"holds \*/ids.npy and \*.tar; keep one kind",
        ),
        ({"a.tar": [("a.npy", GRID[0]), ("b.cls", b"1")]}, "b.cls has no .npy beside it"),
        ({"a.tar": [("a.npy", GRID[0]), ("a.npy", GRID[0])]}, "holds two members a.npy"),
        ({"a.tar": [("a.npy", hostile_npy())]}, "a.tar: cannot be read"),
        ({"a.tar": [("a.npy", GRID[0]), ("b.npy", GRID[0, :2])]}, "a.tar: cannot be read"),
        (
            {
                "a.tar": [("a.npy", GRID[0]), ("a.cls", b"x")],
                "b.tar": [("a.npy", GRID[0]), ("a.cls", b"1")],
            },
            "some labels are names such as 'x', others numbers",
        ),
        ({"a.tar": b"no tar at all"}, "a.tar: cannot be read"),
        ({"a.parquet": {"id": FLAT}}, "has no column ids, but id; name it so"),
        ({"a.parquet": {"ids": [FLAT[0], FLAT[0][:3]]}}, "rows of ids are missing or differ in length"),
        ({"a.parquet": {"ids": [FLAT[0], None]}}, "rows of ids are missing or differ in length"),
        ({"a.parquet": {"ids": [FLAT[0], [None, *FLAT[0][1:]]]}}, "some ids are missing"),
        ({"a.parquet": {"ids": [[0.0, float("nan")] * 8] * 2}}, "ids are double|ids are float64"),
        ({"a.parquet": {"ids": FLAT, "label": [[1], [0, 1]]}}, "a.parquet: cannot be read"),
        ({"a.parquet": {"ids": FLAT, "label": [b"\xff", b"a"]}}, "a.parquet: cannot be read"),
        ({"a.parquet": {"ids": FLAT, "name": ["a", None]}}, "has rows without a name"),
    ],
)
def test_what_is_wrong_with_other_programs_files_is_said_in_one_line(tmp_path, cli, files, message):
    write_files(tmp_path / "in", files)
    with pytest.raises(StoreError, match=message):
        seit.convert(tmp_path / "in", tmp_path / "out", codec="zero-order")
    ended = cli("convert", tmp_path / "in", tmp_path / "out", "--codec", "zero-order", "--quiet")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "seit.json").write_text('{"grid": [8, 8]}'), "seit.json: cannot be read"),
        (lambda folder: (folder / "codebook.npy").write_bytes(hostile_npy()), "seit.json: cannot be read"),
        (lambda folder: np.save(folder / "train/ids.npy", np.full((40, 8, 8), 64)), "ids run from 64 to 64"),
        (lambda folder: np.save(folder / "train/ids.npy", np.zeros((40, 8, 7), int)), r"give integers \[n, 8, 8\]"),
        (lambda folder: np.save(folder / "train/labels.npy", np.zeros(39)), "labels.npy: has 39 rows, ids.npy 40"),
        (lambda folder: (folder / "train/labels.npy").write_bytes(hostile_npy()), "labels.npy: cannot be read"),
        (lambda folder: (folder / "train/ids.npy").write_bytes(b"no array"), "ids.npy: cannot be read"),
        (
            lambda folder: np.save(folder / "train/ids.npy", np.array([{}])),
            "train/ids.npy: cannot be read .*Python objects",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path, harm, message):
    path, _, _ = stores.make(tmp_path / "a")
    seit.convert(path, tmp_path / "npy", to="npy")
    harm(tmp_path / "npy")
    with pytest.raises(StoreError, match=message):
        seit.convert(tmp_path / "npy", tmp_path / "out", codec="zero-order")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "npy"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is not a token data set, and holds neither"):
        seit.convert(tmp_path, tmp_path / "out")
    with pytest.raises(StoreError, match="is not a token data set"):
        seit.convert(tmp_path / "nothing", tmp_path / "out")


def test_an_export_that_fails_leaves_nothing_behind(tmp_path):
    w = stores.writer(tmp_path / "a")
    w.write(0, "train", stores.random_ids(5), np.ones((5, 2), bool), stores.table(5))
    path = w.commit()
    with pytest.raises(StoreError, match="rows have multi labels"):
        seit.convert(path, tmp_path / "b", to="parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# Interrupted imports


def interrupted(monkeypatch, source, out):
    """Imports until the first part is written."""

    def write(self, *arguments):
        real(self, *arguments)
        raise KeyboardInterrupt

    real = TokenWriter.write
    with monkeypatch.context() as patch:
        patch.setattr(TokenWriter, "write", write)
        with pytest.raises(KeyboardInterrupt):
            seit.convert(source, out, codec="zero-order")


def mended(path, change):
    """Changes a file's content, and neither its size nor its time."""
    state, data = path.stat(), path.read_bytes()
    new = change(data)
    assert new != data
    path.write_bytes(new)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert len(new) == len(data)


def last_byte(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def swapped(old, new):
    return lambda data: data.replace(old, new)


@pytest.mark.parametrize(
    ("to", "file", "change"),
    [
        ("npy", "train/ids.npy", lambda data: data[:-2] + bytes([data[-2] ^ 1, data[-1]])),
        ("npy", "val/ids.npy", lambda data: data[:-2] + bytes([data[-2] ^ 1, data[-1]])),
        ("npy", "train/labels.npy", lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]),
        ("npy", "train/names.txt", swapped(b"00019.jpg", b"00919.jpg")),
        ("npy", "seit.json", swapped(b'"cat"', b'"kat"')),
        ("npy", "seit.json", swapped(b'"terms": "none"', b'"terms": "mine"')),
        ("npy", "codebook.npy", last_byte),
        ("webdataset", "train-00000.tar", swapped(b"first/00007.jpg", b"first/00997.jpg")),
        ("parquet", "train.parquet", None),
    ],
)
def test_an_interrupted_import_never_mixes_what_was_mended_in_between(tmp_path, monkeypatch, to, file, change):
    monkeypatch.setattr(chunks, "CELLS", 64 * 10)
    monkeypatch.setattr("seit.store.imports._ROWS", 10)
    path, ids, labels = stores.make(tmp_path / "a")
    source, out = tmp_path / to, tmp_path / "out"
    seit.convert(path, source, to=to)
    shutil.copytree(source, tmp_path / "same")
    interrupted(monkeypatch, source, out)
    shutil.copytree(tmp_path / "out.partial", tmp_path / "kept")
    if change is None:
        table = pq.read_table(source / file)
        label = pa.array([1 - label for label in table["label"].to_pylist()])
        pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", label), source / file)
    else:
        mended(source / file, change)
    with pytest.raises(StoreError, match=r"out.partial: holds the beginning of another data set"):
        seit.convert(source, out, codec="zero-order")
    assert not out.exists()
    shutil.rmtree(source)
    shutil.copytree(tmp_path / "same", source)  # as it was, at another time
    seit.convert(source, out, codec="zero-order")
    data = TokenDataset(out)
    assert (data.tokenizer_ids(np.arange(52)) == ids).all()
    assert (data.labels == labels).all()


@pytest.mark.parametrize("file", ["data.bin.gz", "index.npy.gz", "label.txt", "codebook.ckpt"])
def test_an_interrupted_import_of_the_official_release_never_mixes(tmp_path, monkeypatch, file):
    monkeypatch.setattr(chunks, "CELLS", 1024 * 2)
    path, _, labels = stores.make(tmp_path / "a", 6, 3, grid=(32, 32), vocabulary=400, codec="zero-order")
    source, out = tmp_path / "official", tmp_path / "out"
    seit.convert(path, source, to="official")
    interrupted(monkeypatch, source, out)
    if file == "codebook.ckpt":
        torch = pytest.importorskip("torch", reason="the release keeps its codebook in torch's format")
        torch.save(torch.load(source / file) + 1, source / file)
    elif file == "label.txt":
        wrong = "".join(f"{1 - label}\n" for label in labels[:6])
        (source / "imagenet1k-train-label.txt").write_text(wrong)
    elif file == "data.bin.gz":
        data = source / "imagenet1k-train-token.data.bin.gz"
        symbols = bytearray(gzip.decompress(data.read_bytes()))
        place = symbols.index(bytes([3]))
        symbols[place] = 4
        data.write_bytes(gzip.compress(bytes(symbols)))
    else:
        data = source / "imagenet1k-train-token.index.npy.gz"
        data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"holds the beginning of another data set|index.npy.gz: cannot be read"):
        seit.convert(source, out, codec="zero-order")
    assert not out.exists()


def test_rows_that_change_while_they_are_read_are_not_written(tmp_path, monkeypatch):
    path, _, _ = stores.make(tmp_path / "a")
    seit.convert(path, tmp_path / "npy", to="npy")
    make = TokenWriter.__init__

    def late(self, *arguments, **options):
        make(self, *arguments, **options)
        mended(tmp_path / "npy/train/labels.npy", lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])

    monkeypatch.setattr(TokenWriter, "__init__", late)
    with pytest.raises(StoreError, match=r"train/ids.npy: changed while it was being read; run the command again"):
        seit.convert(tmp_path / "npy", tmp_path / "out", codec="zero-order")
    assert not (tmp_path / "out").exists()
