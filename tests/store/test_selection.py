"""Subsets, class filters, tasks and joins are views: they hold row numbers, no rows."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import stores
from hypothesis import given
from hypothesis import strategies as st

from seit.store import TokenDataset
from seit.store.joined import Joined
from seit.store.runs import Runs, compact


@given(st.lists(st.integers(0, 30)) | st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), max_size=4))
def test_compacted_row_numbers_are_the_same_numbers(given_rows):
    runs = [np.arange(r[0], r[0] + r[1]) if isinstance(r, tuple) else np.array([r]) for r in given_rows]
    rows = np.concatenate([np.zeros(0, np.int64), *runs])
    found = compact(rows)
    assert len(found) == len(rows)
    assert found[np.arange(len(rows))].tolist() == rows.tolist()


@pytest.fixture(scope="module")
def sorted_by_class(tmp_path_factory):
    """A store whose rows stand class by class, as those of an image folder do."""
    w = stores.writer(tmp_path_factory.mktemp("sorted") / "out", classes=[f"c{i}" for i in range(10)])
    ids = stores.random_ids(2000)
    w.write(0, "train", ids, np.arange(2000) // 200, stores.table(2000))
    return TokenDataset(w.commit()), ids


def test_a_class_of_a_sorted_store_is_one_run(sorted_by_class):
    data, ids = sorted_by_class
    chosen = data.with_classes(["c3", 7])
    assert isinstance(chosen.places, Runs)
    assert len(chosen.places.ends) == 2
    wanted = np.r_[600:800, 1400:1600]
    order = np.random.default_rng(0).permutation(400)
    assert (chosen.tokenizer_ids(order) == ids[wanted[order]]).all()
    assert chosen[-1][1] == 7
    assert chosen.with_classes(["c7"]).labels.tolist() == [7] * 200


def test_views_are_pickled_by_their_row_numbers_alone(sorted_by_class):
    data, ids = sorted_by_class
    halves = data.with_classes(range(5)), data.subset(slice(1000, 2000))
    both = Joined(halves)
    manifest = (Path(data.path) / "manifest.json").stat().st_size
    assert len(pickle.dumps(halves[0])) < manifest + 1500
    assert len(pickle.dumps(both)) < 2 * manifest + 2500
    copy = pickle.loads(pickle.dumps(both))
    assert (copy.tokenizer_ids(np.arange(2000)) == ids).all()
    assert (copy.labels == both.labels).all()
    assert copy.fingerprint() == both.fingerprint()
    shuffled = data.subset(np.random.default_rng(0).permutation(2000))
    assert len(pickle.dumps(shuffled)) < manifest + 2000 * 4 + 1500, "4 bytes a row"
    assert (pickle.loads(pickle.dumps(shuffled)).labels == shuffled.labels).all()


def test_a_range_of_rows_takes_the_memory_of_one_run(sorted_by_class):
    data, ids = sorted_by_class
    part = data.subset(range(10, 1910))
    assert (part.tokenizer_ids([0, 1899]) == ids[[10, 1909]]).all()
    tracemalloc.start()
    kept = [data.subset(range(10, 1910)) for _ in range(50)]
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == 50
    assert grown < 50 * 3000, "an array of 1900 row numbers takes 7600 bytes at least"


def test_selections_of_whole_images_keep_their_views(tmp_path):
    w = stores.writer(tmp_path / "out", views=3)
    labels = np.arange(24) % 2  # a label of its own for every view
    w.write(0, "train", stores.random_ids(24), labels, stores.table(24))
    data = TokenDataset(w.commit())
    assert data.labels.tolist() == labels.tolist()
    assert data.subset([3, 4, 5, 0, 1, 2]).views == 3
    assert pickle.loads(pickle.dumps(data.subset(range(3, 24)))).views == 3
    for broken in ([3, 4], [1, 2, 3], [0, 2, 1], range(0, 24, 2)):
        assert data.subset(broken).views == 1
    assert pickle.loads(pickle.dumps(data.subset([3, 4]))).views == 1
