"""Reading holds no index and no cache in memory: what a process owns stays flat over epochs."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import stores

from seit.store import TokenDataset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def anonymous(process="self"):
    """kB of anonymous memory of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path, _, _ = stores.make(tmp_path_factory.mktemp("memory") / "out", 4000, 10, grid=(16, 16))
    return TokenDataset(path, "train")


def test_memory_and_open_files_of_one_process_stay_flat(data):
    def epochs(count):
        for _ in range(count):
            for start in range(0, 4000, 100):
                data.batch(np.arange(start, start + 100))

    epochs(2)
    before, files_before = anonymous(), len(os.listdir("/proc/self/fd"))
    epochs(5)
    assert anonymous() - before < 2000
    assert len(os.listdir("/proc/self/fd")) == files_before


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker")
def test_memory_of_eight_workers_stays_flat(data):
    torch_data = pytest.importorskip("torch.utils.data", reason="needs torch")
    rng = np.random.default_rng(0)
    orders = (rng.integers(0, 4000, 100) for _ in range(240))  # 30 batches a worker
    mine = set(multiprocessing.active_children())
    owned = []
    for number, _ in enumerate(torch_data.DataLoader(data, batch_sampler=orders, num_workers=8)):
        if number in (80, 230):
            workers = set(multiprocessing.active_children()) - mine
            assert len(workers) == 8
            owned.append(sum(anonymous(worker.pid) for worker in workers))
    assert owned[1] - owned[0] < 8 * 1000, owned


def test_rows_are_mapped_not_read(data):
    data.ids([0])
    reader = data._shard(0)
    for array in (reader.payload, reader.offsets, reader.labels.values):
        assert not array.flags.owndata
        assert not array.flags.writeable
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if "train-00000-" in line]
    assert maps
    assert all(line.split()[1] in ("r--p", "r--s") for line in maps), "pages that processes share"
