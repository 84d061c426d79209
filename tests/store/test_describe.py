import numpy as np
import pytest
import stores

import seit
from seit.errors import StoreError
from seit.store import TokenDataset


def h0(ids):
    counts = np.bincount(ids.reshape(-1))
    share = counts[counts > 0] / ids.size
    return -(share * np.log2(share)).sum()


@pytest.mark.parametrize("grid", [(8, 8), (32, 32)], ids=["blocks of rows", "rows alone"])
def test_info_measures_each_class(tmp_path, grid):
    path, ids, labels = stores.make(tmp_path / "out", grid=grid)
    about = seit.info(path, classes=True)
    found, data = about["per_class"], TokenDataset(path)
    assert list(found) == ["cat", "dog"]
    files = np.concatenate([np.arange(20), np.arange(20), np.arange(12)]) + 1000
    for number, name in enumerate(found):
        mine = labels == number
        assert found[name]["images"] == mine.sum()
        assert found[name]["entropy_bits_per_id"] == pytest.approx(h0(ids[mine]))
        assert found[name]["codes_used"] == len(np.unique(ids[mine]))
        assert found[name]["source_file_bytes_per_image"] == pytest.approx(files[mine].mean())
        assert found[name]["source_scan_bytes_per_image"] == pytest.approx(files[mine].mean() - 600)
    payload = sum(one["images"] * one["payload_bytes_per_image"] for one in found.values())
    assert payload == pytest.approx(sum(shard.payload_bytes for shard in data.manifest.shards))
    if grid == (32, 32):
        sizes = np.concatenate([np.diff(data.reader(shard).offsets) for shard in data.manifest.shards])
        assert found["cat"]["payload_bytes_per_image"] == pytest.approx(sizes[labels == 0].mean())


def test_a_row_of_several_classes_counts_in_each(tmp_path):
    w = stores.writer(tmp_path / "out")
    multi = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    w.write(0, "train", stores.random_ids(4), multi, stores.table(4))
    assert [one["images"] for one in seit.info(w.commit(), classes=True)["per_class"].values()] == [2, 2]


def test_views_of_an_image_count_its_source_once(tmp_path):
    w = stores.writer(tmp_path / "out", views=2)
    w.write(0, "train", stores.random_ids(4), np.zeros(4, int), stores.table(4))
    cat = seit.info(w.commit(), classes=True)["per_class"]["cat"]
    assert cat["images"] == 2
    assert cat["source_file_bytes_per_image"] == pytest.approx(np.mean([1000, 1001, 1002, 1003]))


def test_classes_of_unlabelled_rows_are_refused(tmp_path):
    w = stores.writer(tmp_path / "out")
    w.write(0, "train", stores.random_ids(4), None, stores.table(4))
    with pytest.raises(StoreError, match="has no labels"):
        seit.info(w.commit(), classes=True)
