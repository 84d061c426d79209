import errno
import os

import numpy as np
import pytest
import stores
from stress import store_kills

from seit import files
from seit.errors import BusyError, StoreError
from seit.store import TokenDataset
from seit.store.append import append
from seit.store.verify import verify


def test_killed_writers_lose_and_double_nothing():
    counts = store_kills.run(5)
    assert counts["killed_alive"] == 5
    assert counts["found_old"] + counts["found_new"] == counts["rounds"]


def filled(tmp_path):
    w = stores.writer(tmp_path / "out")
    for number in range(3):
        w.write(number, "train", stores.random_ids(10, seed=number), np.zeros(10, int), stores.table(10))
    return w


def stop_at(monkeypatch, allowed):
    """Makes every file but the first `allowed` fail as on a full disk."""
    real, done = files.atomic, []

    def full(path):
        done.append(path)
        if len(done) > allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path)

    monkeypatch.setattr(files, "atomic", full)


@pytest.mark.parametrize("allowed", range(4))
def test_a_full_disk_at_any_file_of_a_commit_leaves_a_resumable_write(tmp_path, monkeypatch, allowed):
    w = filled(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, allowed)
        with pytest.raises(StoreError, match="No space left on device; mend that and run the same command again"):
            w.commit()
    assert not (tmp_path / "out").exists()
    again = stores.writer(tmp_path / "out")
    assert again.finished == {0, 1, 2}
    assert len(TokenDataset(again.commit())) == 30


@pytest.mark.parametrize("allowed", range(4))
def test_a_full_disk_at_any_file_of_an_append_leaves_the_old_data_set(tmp_path, monkeypatch, allowed):
    a, ids, _ = stores.make(tmp_path / "a", seed=1)
    b, _, _ = stores.make(tmp_path / "b", seed=2)
    with monkeypatch.context() as patch:
        stop_at(patch, allowed)
        with pytest.raises(StoreError, match="No space left"):
            append(a, {"train": TokenDataset(b)}, "zero-order")
    assert verify(a, decode=True) == []
    assert (TokenDataset(a).tokenizer_ids(np.arange(52)) == ids).all()
    append(a, {"train": TokenDataset(b)}, "zero-order")
    assert len(TokenDataset(a)) == 104
    assert verify(a, decode=True) == []


def test_a_second_committer_is_refused(tmp_path):
    w = filled(tmp_path)
    with files.lock(w.partial / "lock-write"), pytest.raises(BusyError, match="is being written by another"):
        w.commit()
    assert len(TokenDataset(w.commit())) == 30
    with pytest.raises(StoreError, match="is gone: another process committed it"):
        w.commit()


def test_the_lock_dies_with_its_process(tmp_path):
    w = filled(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with files.lock(w.partial / "lock-write"):
            os.write(writer, b"x")
            os._exit(0)
        os._exit(0)
    os.read(reader, 1)
    os.waitpid(child, 0)
    assert len(TokenDataset(w.commit())) == 30


def test_two_processes_write_different_shards_of_one_data_set(tmp_path):
    ids = stores.random_ids(40)
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            w = stores.writer(tmp_path / "out")
            for number in range(rank, 4, 2):
                part = slice(number * 10, number * 10 + 10)
                w.write(number, "train", ids[part], np.zeros(10, int), stores.table(10, str(number)))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    data = TokenDataset(stores.writer(tmp_path / "out").commit())
    assert (data.tokenizer_ids(np.arange(40)) == ids).all()
