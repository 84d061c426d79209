"""What other libraries' files hold becomes a token data set, and what we exported comes back whole."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stores

import seit
from seit.errors import StoreError
from seit.store import TokenDataset


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
def test_arrays_keep_every_kind_of_labels_and_views(tmp_path, kind):
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


def foreign(folder, kind, ids, labels):
    """Writes ids as another program would, without `seit.json`."""
    folder.mkdir()
    if kind == "npy":
        (folder / "train").mkdir()
        np.save(folder / "train/ids.npy", ids.astype(np.int64))
        np.save(folder / "train/labels.npy", labels)
    elif kind == "parquet":
        table = pa.table({"ids": ids.reshape(len(ids), -1).tolist(), "label": labels, "more": labels})
        pq.write_table(table, folder / "train-00000-of-00001.parquet")
    else:
        with tarfile.open(folder / "train-000.tar", "w") as tar:
            for i, row in enumerate(ids):
                npy = io.BytesIO()
                np.save(npy, row)
                files = {"jpg": b"a picture beside", "npy": npy.getvalue(), "cls": str(labels[i]).encode()}
                for ending, data in files.items():
                    entry = tarfile.TarInfo(f"some/dir/x{i}.{ending}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("kind", ["npy", "parquet", "webdataset"])
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


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "seit.json").write_text('{"grid": [8, 8]}'), "seit.json: cannot be read"),
        (lambda folder: np.save(folder / "train/ids.npy", np.full((40, 8, 8), 64)), "ids run from 64 to 64"),
        (lambda folder: np.save(folder / "train/ids.npy", np.zeros((40, 8, 7), int)), r"give integers \[n, 8, 8\]"),
        (lambda folder: np.save(folder / "train/labels.npy", np.zeros(39)), "do not have its 40 rows"),
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
    assert not (tmp_path / "out").exists()


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
