import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import stores

from seit.errors import StoreError
from seit.store import RowTable, TokenDataset, is_finished
from seit.store.joined import Joined

GRIDS = [(1, 1), (8, 8), (3, 7), (32, 32), (1, 300)]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_store_returns_what_was_written(tmp_path, grid):
    path, ids, labels = stores.make(tmp_path / "out", grid=grid)
    data = TokenDataset(path)
    assert len(data) == 52
    assert data.splits == {"train": 40, "val": 12}
    assert (data.used_codes[data.ids(np.arange(52))] == ids).all()
    assert (data.labels == labels).all()
    assert data.ids([0]).dtype == np.uint16


def test_rows_come_in_the_order_asked_for_whatever_their_shards(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out")
    data = TokenDataset(path)
    wanted = np.array([51, 0, 39, 40, 7, 7, -1, 20])
    assert (data.used_codes[data.ids(wanted)] == ids[wanted]).all()
    assert (data.labels_at(wanted) == labels[wanted]).all()
    assert data.names(wanted) == [
        "val/only/00011.jpg", "train/first/00000.jpg", "train/second/00019.jpg", "val/only/00000.jpg",
        "train/first/00007.jpg", "train/first/00007.jpg", "val/only/00011.jpg", "train/second/00000.jpg",
    ]  # fmt: skip


def test_one_row_a_slice_and_a_batch_agree(tmp_path):
    path, _, labels = stores.make(tmp_path / "out")
    data = TokenDataset(path, "val")
    ids, label = data[3]
    many, many_labels = data[3:6]
    listed = data.__getitems__([3, 4, 5])
    assert ids.shape == (8, 8)
    assert label == labels[43]
    assert (many[0] == ids).all()
    assert (many_labels == labels[43:46]).all()
    assert all((a == b).all() and c == d for (a, c), b, d in zip(listed, many, many_labels, strict=True))
    with pytest.raises(IndexError, match="row 12 of 12"):
        data[12]


def test_the_codebook_is_pruned_to_the_codes_that_occur(tmp_path):
    out = tmp_path / "out"
    w = stores.writer(out, vocabulary=64)
    ids = np.random.default_rng(0).choice([3, 5, 63], (20, 8, 8))
    w.write(0, "train", ids, np.zeros(20, int), stores.table(20))
    full = w.codebook
    data = TokenDataset(w.commit())
    assert data.used_codes.tolist() == [3, 5, 63]
    assert (data.codebook == full[[3, 5, 63]]).all()
    assert data.vocabulary == 3
    counts = np.bincount(ids.reshape(-1))
    share = counts[counts > 0] / ids.size
    assert data.manifest.entropy == pytest.approx(-(share * np.log2(share)).sum())


def test_a_codebook_that_float16_holds_exactly_takes_half_the_bytes(tmp_path):
    exact = np.random.default_rng(1).normal(size=(64, 16)).astype(np.float16).astype(np.float32)
    sizes = []
    for name, codebook in (("half", exact), ("full", exact + np.float32(1e-6)), ("huge", exact * np.float32(1e8))):
        path, _, _ = stores.make(tmp_path / name, codebook=codebook)
        data = TokenDataset(path)
        assert data.codebook.dtype == np.float32
        assert (data.codebook == codebook[data.used_codes]).all()
        sizes.append(data.manifest.codebook.bytes)
    assert sizes[1] == sizes[2]
    assert abs(sizes[1] - sizes[0] - 64 * 16 * 2) <= 8, "but for the padding of the header"


@pytest.mark.parametrize("rows", [1, 0])
def test_tiny_stores_work(tmp_path, rows):
    w = stores.writer(tmp_path / "out", vocabulary=1, grid=(4, 4))
    w.write(0, "train", np.zeros((rows, 4, 4), int), np.zeros(rows, int), stores.table(rows))
    data = TokenDataset(w.commit())
    assert len(data) == rows
    assert data.ids(np.arange(rows)).tolist() == np.zeros((rows, 4, 4)).tolist()
    assert data.labels.tolist() == [0] * rows


def test_more_than_65536_used_codes_give_uint32(tmp_path):
    n = 70_000
    w = stores.writer(tmp_path / "out", vocabulary=1 << 18, grid=(100, 100), codebook=None)
    ids = np.arange(7 * 100 * 100).reshape(7, 100, 100) * 3
    w.write(0, "train", ids, None, stores.table(7))
    data = TokenDataset(w.commit())
    assert data.vocabulary == n
    assert data.codebook is None
    assert data.ids([6]).dtype == np.uint32
    assert (data.used_codes[data.ids([6, 1])] == ids[[6, 1]]).all()


@pytest.mark.parametrize("grid", [(8, 8), (32, 32)])
@pytest.mark.parametrize("kind", ["none", "multi", "soft"])
def test_other_kinds_of_labels_return_as_written(tmp_path, kind, grid):
    rng = np.random.default_rng(1)
    multi = rng.random((20, 2)) < 0.5
    labels = {"none": None, "multi": multi, "soft": (multi * rng.random((20, 2))).astype(np.float32)}[kind]
    w = stores.writer(tmp_path / "out", grid=grid)
    ids = stores.random_ids(20, grid)
    w.write(0, "train", ids, labels, stores.table(20))
    data = TokenDataset(w.commit())
    assert data.label_kind == kind
    if labels is None:
        assert data.labels is None
        assert data[0][1] == -1
    else:
        order = rng.permutation(20)
        assert (data.labels_at(order) == labels[order]).all()
        assert (data[4][1] == labels[4]).all()


def test_views_of_one_image_record_crop_and_flip(tmp_path):
    ids = stores.random_ids(12)
    rows = stores.table(12)
    rows.crop = np.arange(48, dtype=np.int32).reshape(12, 4)
    rows.flip = np.arange(12) % 2 == 1
    w = stores.writer(tmp_path / "out", views=3)
    w.write(0, "train", ids, np.arange(12) % 2, rows)
    data = TokenDataset(w.commit())
    table = data.rows_at([11, 4])
    assert data.views == 3
    assert table.crop.tolist() == [[44, 45, 46, 47], [16, 17, 18, 19]]
    assert table.flip.tolist() == [True, False]
    assert data.manifest.source["file_bytes"] == sum(1000 + i for i in (0, 3, 6, 9))
    assert data.subset([3, 4, 5, 0, 1, 2]).views == 3
    assert data.subset([3, 4]).views == 1


def test_class_filter_tasks_and_joins_are_views(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out")
    data = TokenDataset(path)
    dogs = data.with_classes(["dog"])
    assert len(dogs) == (labels == 1).sum()
    assert (data.used_codes[dogs.ids(np.arange(len(dogs)))] == ids[labels == 1]).all()
    assert [len(task) for task in data.tasks(2)] == [(labels == 0).sum(), (labels == 1).sum()]
    with pytest.raises(StoreError, match="did you mean 'dog'"):
        data.with_classes(["dgo"])


def test_joined_stores_renumber_codes_that_only_one_of_them_uses(tmp_path):
    a, ids_a, labels_a = stores.make(tmp_path / "a", seed=1)
    b, ids_b, labels_b = stores.make(tmp_path / "b", seed=2)
    both = Joined([TokenDataset(a), TokenDataset(b, "val"), TokenDataset(a, "val")])
    ids = np.concatenate([ids_a, ids_b[40:], ids_a[40:]])
    order = np.random.default_rng(0).permutation(len(ids))
    assert (both.used_codes[both.ids(order)] == ids[order]).all()
    assert (both.labels == np.concatenate([labels_a, labels_b[40:], labels_a[40:]])).all()
    assert both.names([52, 0]) == ["val/only/00000.jpg", "train/first/00000.jpg"]
    other, _, _ = stores.make(tmp_path / "c", tokenizer={"name": "x", "identity": "b"})
    with pytest.raises(StoreError, match="part 1 of the join: the tokenizer differs"):
        Joined([TokenDataset(a), TokenDataset(other)])


def test_a_data_set_pickles_without_its_rows(tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    data = TokenDataset(path, "train")
    expected = data.ids([5])
    blob = pickle.dumps(data)
    assert len(blob) < (path / "manifest.json").stat().st_size + 1000
    assert (pickle.loads(blob).ids([5]) == expected).all()


def test_an_interrupted_write_resumes_with_the_shards_it_finished(tmp_path):
    out = tmp_path / "out"
    stores.writer(out).write(0, "train", stores.random_ids(5), np.zeros(5, int), stores.table(5))
    again = stores.writer(out)
    assert again.finished == {0}
    again.write(1, "val", stores.random_ids(3), np.ones(3, int), stores.table(3))
    assert len(TokenDataset(again.commit())) == 8
    assert is_finished(out, "plan 1")
    assert not is_finished(out, "plan 2")
    assert not (tmp_path / "out.partial").exists()


def test_the_same_rows_give_the_same_bytes(tmp_path):
    a, _, _ = stores.make(tmp_path / "a")
    b, _, _ = stores.make(tmp_path / "b")
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir())
    assert all(p.read_bytes() == (b / p.name).read_bytes() for p in a.iterdir())


def test_parts_become_few_shards_of_whole_images(tmp_path, monkeypatch):
    monkeypatch.setattr("seit.store.encode.SHARD_CELLS", 25 * 64)
    w = stores.writer(tmp_path / "out", views=2)
    ids = stores.random_ids(60)
    for i in range(10):
        w.write(i, "train" if i % 2 else "val", ids[i * 6 : i * 6 + 6], np.zeros(6, int), stores.table(6))
    data = TokenDataset(w.commit())
    assert [shard.rows for shard in data.manifest.shards] == [24, 6, 24, 6]
    expected = np.concatenate([ids[i * 6 : i * 6 + 6] for i in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)])
    assert (data.used_codes[data.ids(np.arange(60))] == expected).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.zeros((5, 8, 7), int)}, r"shard 0: ids are int64 \[5, 8, 7\].*give integers \[n, 8, 8\]"),
        ({"ids": np.zeros((5, 8, 8))}, "ids are float64"),
        ({"ids": np.full((5, 8, 8), 64)}, "ids run from 64 to 64; the codebook has 64"),
        ({"ids": np.full((5, 8, 8), -1)}, "ids run from -1"),
        ({"labels": np.full(5, 2)}, "labels run from 2 to 2 with 2 classes"),
        ({"labels": np.zeros(4, int)}, r"labels are int64 \[4\]"),
        ({"rows": RowTable.named(["x"])}, "beside 1 names"),
    ],
)
def test_wrong_rows_are_refused_with_their_own_values(tmp_path, change, message):
    good = {"ids": np.zeros((5, 8, 8), int), "labels": np.zeros(5, int), "rows": stores.table(5)}
    with pytest.raises(StoreError, match=message):
        stores.writer(tmp_path / "out").write(0, "train", **(good | change))


def test_an_existing_folder_is_never_overwritten(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(StoreError, match="exists and is not a token data set; choose another OUT"):
        stores.writer(out)
    out.rmdir()
    stores.make(out)
    with pytest.raises(StoreError, match="already holds a token data set"):
        stores.writer(out)


def test_the_beginning_of_another_data_set_is_refused(tmp_path):
    stores.writer(tmp_path / "out")
    with pytest.raises(StoreError, match="beginning of another data set"):
        stores.writer(tmp_path / "out", plan="plan 2")


def test_commit_wants_every_shard(tmp_path):
    w = stores.writer(tmp_path / "out")
    w.write(2, "train", stores.random_ids(5), np.zeros(5, int), stores.table(5))
    with pytest.raises(StoreError, match="2 shards are missing, the first is 0"):
        w.commit()


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path):
    with pytest.raises(StoreError, match=r"is not a token data set.*seit tokenize"):
        TokenDataset(tmp_path)
    path, _, _ = stores.make(tmp_path / "out")
    with pytest.raises(StoreError, match="no split 'test'; known: train, val"):
        TokenDataset(path, "test")


def test_describing_a_store_imports_neither_torch_nor_numba(tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    code = (
        "import sys, json; from seit.store.describe import describe; d = describe(sys.argv[1]);"
        "print(json.dumps([d, sorted({'torch', 'numba'} & set(sys.modules))]))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    described, imported = json.loads(found.stdout)
    assert imported == []
    assert described["bytes"]["total"] == sum(p.stat().st_size for p in path.iterdir())
    assert sum(described["bytes"].values()) == 2 * described["bytes"]["total"]
    assert described["rows_per_class"]["cat"] + described["rows_per_class"]["dog"] == 52
    assert described["source"]["file_bytes"] == 2 * sum(range(1000, 1020)) + sum(range(1000, 1012))
