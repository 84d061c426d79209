"""A disk that is full, and a file that may not grow: real refusals of the system, at any point of a write."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stores

import seit
from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.append import append
from seit.store.verify import verify

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")


def limited(work, limit):
    """Runs `work` in a child whose files may have `limit` bytes; returns 0 done, 7 refused as a StoreError."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes fail with EFBIG instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            work()
            status = 0
        except StoreError as error:
            status = 7 if "mend that and run the same command again" in str(error) else 8
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@LINUX
@pytest.mark.parametrize("limit", [0, 100, 700, 3000, 6000, 20_000])
def test_a_write_that_the_system_stops_can_be_finished_later(tmp_path, limit):
    ids = stores.random_ids(60, (16, 16))

    def write():
        w = stores.writer(tmp_path / "out", (16, 16))
        for number in range(3):
            if number not in w.finished:
                part = slice(number * 20, number * 20 + 20)
                w.write(number, "train", ids[part], np.zeros(20, int), stores.table(20, str(number)))
        w.commit()

    ended = limited(write, limit)
    assert ended == (0 if (tmp_path / "out").exists() else 7)
    assert limit or ended == 7, "nothing can be written at all"
    if ended:
        write()
    assert (TokenDataset(tmp_path / "out").tokenizer_ids(np.arange(60)) == ids).all()
    assert verify(tmp_path / "out", decode=True) == []


@LINUX
@pytest.mark.parametrize("limit", [0, 500, 2500, 4000])
def test_an_append_that_the_system_stops_leaves_the_old_data_set(tmp_path, limit):
    a, ids, _ = stores.make(tmp_path / "a", grid=(16, 16), seed=1)
    b, _, _ = stores.make(tmp_path / "b", grid=(16, 16), seed=2)
    assert limited(lambda: append(a, {"train": TokenDataset(b)}, "zero-order"), limit) == 7
    assert verify(a, decode=True) == []
    assert (TokenDataset(a).tokenizer_ids(np.arange(52)) == ids).all()
    append(a, {"train": TokenDataset(b)}, "zero-order")
    assert len(TokenDataset(a)) == 104
    assert not [path for path in a.iterdir() if path.name.endswith(".tmp")]


@LINUX
@pytest.mark.parametrize("to", ["npy", "webdataset", "parquet"])
def test_an_export_that_the_system_stops_leaves_nothing(tmp_path, to):
    a, _, _ = stores.make(tmp_path / "a", grid=(16, 16))
    assert limited(lambda: seit.convert(a, tmp_path / "b", to=to), 2000) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


ON_A_SMALL_DISK = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
disk = sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + sys.argv[3], "tmpfs", disk], check=True)
import numpy as np, stores
import seit
from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.verify import verify
ids = stores.random_ids(300, (32, 32))
def write():
    w = stores.writer(disk + "/out", (32, 32))
    for number in set(range(3)) - w.finished:
        part = slice(number * 100, number * 100 + 100)
        w.write(number, "train", ids[part], np.zeros(100, int), stores.table(100, str(number)))
    w.commit()
try:
    write()
    sys.exit("it fitted")
except StoreError as error:
    assert "No space left on device; mend that and run the same command again" in str(error), error
assert not os.path.exists(disk + "/out")
subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
write()
assert verify(disk + "/out", decode=True) == []
assert (TokenDataset(disk + "/out").tokenizer_ids(np.arange(300)) == ids).all()
subprocess.run(["mount", "-o", "remount,size=" + str(os.statvfs(disk).f_frsize * 80 + 400_000), disk], check=True)
try:
    seit.convert(disk + "/out", disk + "/npy", to="npy")
    sys.exit("the arrays fitted")
except StoreError as error:
    assert "No space left on device" in str(error), error
assert os.listdir(disk) == ["out"]
print("kept its word")
"""


@LINUX
@pytest.mark.parametrize("size", ["60k", "800k"])
def test_a_real_disk_that_runs_full_loses_nothing(tmp_path, size):
    unshare = ["unshare", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run(
            [*unshare, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True
        ).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed:
        pytest.skip("this system does not let us mount a small disk")
    program = [*unshare, sys.executable, "-c", ON_A_SMALL_DISK, Path(__file__).parent, tmp_path, size]
    ended = subprocess.run([str(word) for word in program], capture_output=True, text=True)
    assert ended.stdout == "kept its word\n", ended.stderr
