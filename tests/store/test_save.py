import numpy as np
import pytest
import stores

from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.append import append
from seit.store.joined import Joined
from seit.store.save import recode, save
from seit.store.verify import verify


def same_rows(a, b):
    every = np.arange(len(a))
    assert len(a) == len(b)
    assert (a.tokenizer_ids(every) == b.tokenizer_ids(every)).all()
    assert (a.labels == b.labels).all()
    assert a.names(every) == b.names(every)


@pytest.mark.parametrize("codec", ["zero-order", "context"])
def test_recoding_keeps_every_row_and_its_checksum(tmp_path, codec):
    path, _, _ = stores.make(tmp_path / "a")
    out = recode(path, tmp_path / "b", codec)
    a, b = TokenDataset(path), TokenDataset(out)
    same_rows(a, b)
    assert b.splits == a.splits
    assert b.manifest.source == a.manifest.source
    assert (a.codebook == b.codebook).all()
    assert verify(out, decode=True) == []


def test_merging_joins_stores_of_one_tokenizer(tmp_path):
    a, ids_a, _ = stores.make(tmp_path / "a", seed=1)
    b, ids_b, _ = stores.make(tmp_path / "b", seed=2)
    both = Joined([TokenDataset(a), TokenDataset(b)])
    merged = TokenDataset(save({"train": both}, tmp_path / "c", "zero-order"))
    same_rows(merged, both)
    assert (merged.tokenizer_ids(np.arange(104)) == np.concatenate([ids_a, ids_b])).all()
    assert merged.splits == {"train": 104}


def test_a_subset_is_saved_with_the_codes_that_it_uses(tmp_path):
    path, _, labels = stores.make(tmp_path / "a")
    data = TokenDataset(path)
    cats = data.with_classes(["cat"])
    saved = TokenDataset(save({"train": cats}, tmp_path / "b", "zero-order"))
    same_rows(saved, cats)
    assert len(saved) == (labels == 0).sum()
    assert (np.bincount(saved.ids(np.arange(len(saved))).reshape(-1)) == saved.counts).all()


def test_saving_other_tokenizers_together_is_refused(tmp_path):
    a, _, _ = stores.make(tmp_path / "a")
    b, _, _ = stores.make(tmp_path / "b", tokenizer={"name": "other", "identity": "c"})
    with pytest.raises(StoreError, match="split val: the tokenizer differs"):
        save({"train": TokenDataset(a), "val": TokenDataset(b)}, tmp_path / "c")


def test_appended_rows_stand_behind_the_old_ones(tmp_path):
    a, ids_a, labels_a = stores.make(tmp_path / "a", seed=1)
    b, ids_b, labels_b = stores.make(tmp_path / "b", seed=2)
    old = {p.name: p.read_bytes() for p in a.iterdir()}
    append(a, {"train": TokenDataset(b)}, "zero-order")
    data = TokenDataset(a, "train")
    assert data.splits == {"train": 92, "val": 12}
    expected = np.concatenate([ids_a[:40], ids_b])
    assert (data.tokenizer_ids(np.arange(92)) == expected).all()
    assert (data.labels == np.concatenate([labels_a[:40], labels_b])).all()
    assert verify(a, decode=True) == []
    assert all((a / name).read_bytes() == old[name] for name in old if name.endswith(".arrow"))
    every = TokenDataset(a)
    assert (np.bincount(every.ids(np.arange(104)).reshape(-1), minlength=every.vocabulary) == every.counts).all()


def test_codes_that_a_store_has_not_met_are_added_not_lost(tmp_path):
    low, high = np.random.default_rng(0).integers(0, 20, (2, 30, 8, 8)) + np.array([0, 15])[:, None, None, None]
    paths = []
    for name, ids in (("a", low), ("b", high)):
        w = stores.writer(tmp_path / name)
        w.write(0, "train", ids, np.zeros(30, int), stores.table(30, name))
        paths.append(w.commit())
    before = TokenDataset(paths[0]).ids(np.arange(30))
    append(paths[0], {"train": TokenDataset(paths[1])}, "zero-order")
    data = TokenDataset(paths[0])
    assert (data.ids(np.arange(30)) == before).all()
    assert (data.tokenizer_ids(np.arange(60)) == np.concatenate([low, high])).all()
    assert data.vocabulary == 35
    assert (
        data.codebook == np.random.default_rng(9).normal(size=(64, 4)).astype(np.float32)[data.used_codes]
    ).all()
    named = [file.file for file in (*data.manifest.files, *data.manifest.superseded)]
    assert sorted(p.name for p in paths[0].iterdir()) == sorted([*named, "manifest.json", ".lock"])


def test_a_reader_of_before_an_append_keeps_reading(tmp_path):
    a, ids_a, _ = stores.make(tmp_path / "a", seed=1)
    b, _, _ = stores.make(tmp_path / "b", seed=2)
    reader = TokenDataset(a)
    append(a, {"train": TokenDataset(b)}, "zero-order")
    assert (reader.tokenizer_ids(np.arange(52)) == ids_a).all()
