import numpy as np
import pytest
import stores

from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.npy import export_npy, import_npy
from seit.store.writer import TokenWriter


def test_arrays_come_back_as_they_went_in(tmp_path):
    ids, labels = stores.random_ids(30), np.arange(30) % 2
    np.save(tmp_path / "in.npy", ids.astype(np.uint16))
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r")
    out = import_npy(
        {"train": (mapped[:20], labels[:20]), "val": (mapped[20:], labels[20:])},
        tmp_path / "out",
        tokenizer={"name": "other", "identity": "z"},
        vocabulary=64,
        classes=["a", "b"],
        codec="zero-order",
    )
    data = TokenDataset(out)
    assert data.splits == {"train": 20, "val": 10}
    written = export_npy(data, tmp_path / "plain")
    assert sorted(path.name for path in written) == ["ids.npy", "labels.npy", "names.txt"]
    assert (data.used_codes[np.load(tmp_path / "plain/ids.npy")] == ids).all()
    assert (np.load(tmp_path / "plain/labels.npy") == labels).all()
    assert len((tmp_path / "plain/names.txt").read_text().splitlines()) == 30


OTHER = {
    "tokenizer": {"name": "other", "identity": "z"},
    "vocabulary": 64,
    "classes": ["a", "b"],
    "codec": "zero-order",
}


@pytest.mark.parametrize(
    ("splits", "more", "message"),
    [
        ({}, {}, r"ids are not \[n, h, w\] of one grid"),
        ({"train": (np.zeros((2, 8)), None)}, {}, r"ids are not \[n, h, w\] of one grid"),
        ({"train": (np.zeros((2, 8, 8)), None)}, {}, "train: ids are float64"),
        ({"train": (np.full((2, 8, 8), 64), None)}, {}, "ids run from 64 to 64; there are 64 codes"),
        ({"train": (np.zeros((2, 8, 8), int), np.zeros(3, int))}, {}, "train: 3 labels for 2 rows"),
        ({"train": (np.zeros((2, 8, 8), int), np.array([0, 2]))}, {}, "labels run from 0 to 2"),
        ({"train": (np.zeros((2, 8, 8), int), np.array(["a", "c"]))}, {}, "there is no class 'c'"),
        ({"train": (np.zeros((2, 8, 8), int), None)}, {"codebook": np.zeros((9, 4))}, "9 vectors for 64 codes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, splits, more, message):
    with pytest.raises(StoreError, match=message):
        import_npy(splits, tmp_path / "out", **OTHER, **more)
    assert not (tmp_path / "out").exists()


def test_labels_may_be_names(tmp_path):
    out = import_npy({"train": (stores.random_ids(3), np.array(["b", "a", ""]))}, tmp_path / "out", **OTHER)
    assert TokenDataset(out).labels.tolist() == [1, 0, -1]


def test_an_interrupted_import_of_arrays_goes_on_over_the_same_rows_alone(tmp_path, monkeypatch):
    ids, labels = stores.random_ids(30), np.arange(30) % 2
    monkeypatch.setattr("seit.store.npy._CHUNK", 10)
    monkeypatch.setattr("seit.store.chunks.CELLS", 640)
    write, written = TokenWriter.write, []

    def once(self, number, *arguments):
        written.append(number)
        write(self, number, *arguments)
        if written == [0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(TokenWriter, "write", once)
    with pytest.raises(KeyboardInterrupt):
        import_npy({"train": (ids, labels)}, tmp_path / "out", **OTHER)
    with pytest.raises(StoreError, match="holds the beginning of another data set"):
        import_npy({"train": (ids, 1 - labels)}, tmp_path / "out", **OTHER)
    out = import_npy({"train": (ids, labels)}, tmp_path / "out", **OTHER)
    assert written == [0, 1, 2]
    assert (TokenDataset(out).labels == labels).all()
