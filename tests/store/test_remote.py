import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import stores

from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.describe import describe
from seit.store.remote import upload

fsspec = pytest.importorskip("fsspec", reason="remote stores need fsspec")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check(url, ids, labels, cache):
    data = TokenDataset(url, "val")
    assert not list(cache.glob("*train*")), "only what is read is fetched"
    assert (data.tokenizer_ids(np.arange(12)) == ids[40:]).all()
    assert (data.labels == labels[40:]).all()
    assert not list(cache.glob("*train*"))
    copy = pickle.loads(pickle.dumps(data))
    assert (copy.ids([3]) == data.ids([3])).all()
    assert describe(url)["splits"] == {"train": 40, "val": 12}


def test_a_store_in_memory_is_read_through_the_cache(tmp_path, cache):
    path, ids, labels = stores.make(tmp_path / "out")
    url = upload(path, "memory://bucket/toy")
    check(url, ids, labels, cache)
    assert upload(path, url) == url
    other, _, _ = stores.make(tmp_path / "other", seed=5)
    with pytest.raises(StoreError, match="already holds another token data set"):
        upload(other, url)


def test_damaged_remote_files_are_refused(tmp_path, cache):
    path, _, _ = stores.make(tmp_path / "out")
    url = upload(path, "memory://bucket/damaged")
    system = fsspec.filesystem("memory")
    name = stores.file_of(path, "val").name
    data = bytearray(system.cat_file(f"/bucket/damaged/{name}"))
    data[500] ^= 1
    system.pipe_file(f"/bucket/damaged/{name}", bytes(data))
    with pytest.raises(StoreError, match="is not what its manifest says"):
        TokenDataset(url, "val").ids([0])
    assert not list(cache.glob(f"*{name}"))


def mapped_bytes(folder):
    """Bytes of a folder's files that this process maps, deleted ones too."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    return sum(int(end, 16) - int(start, 16) for start, end in (line[0].split("-") for line in lines))


def check_limited(url, path, ids, cache):
    """Reads all shards through a cache that holds one of them."""
    sizes = [shard.data.bytes for shard in TokenDataset(path).manifest.shards]
    limit = max(sizes) + 2000
    data = TokenDataset(url, cache_bytes=limit)
    for _ in range(2):
        for row in (0, 51, 20):
            assert (data.tokenizer_ids([row]) == ids[row]).all()
            assert sum(file.stat().st_size for file in cache.iterdir()) <= limit
            if sys.platform == "linux":
                assert mapped_bytes(cache) <= limit + 8192, "evicted files are let go of"
    assert (data.tokenizer_ids(np.arange(52)) == ids).all()
    with pytest.raises(StoreError, match="exceeds the cache"):
        TokenDataset(url, cache_bytes=100).ids([0])


def test_the_cache_keeps_within_its_limit(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    check_limited(upload(path, "memory://bucket/limited"), path, ids, cache)


def test_what_another_process_is_fetching_is_left_alone_until_it_is_abandoned(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    url = upload(path, "memory://bucket/fetching")
    cache.mkdir()
    fetching, abandoned = cache / ".a-1.arrow.7.tmp", cache / ".b-1.arrow.8.tmp"
    for file in (fetching, abandoned):
        file.write_bytes(b"half")
    os.utime(abandoned, (1, 1))
    assert (TokenDataset(url).tokenizer_ids([0]) == ids[0]).all()
    assert fetching.exists()
    assert not abandoned.exists()


def test_a_url_without_a_store_is_refused(cache):
    with pytest.raises(StoreError, match="is not a token data set"):
        TokenDataset("memory://bucket/nothing")


@pytest.mark.slow
def test_a_store_on_a_real_s3_server(tmp_path, cache, monkeypatch):
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs s3fs")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    try:
        _, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("seit-test")
        path, ids, labels = stores.make(tmp_path / "out")
        check(upload(path, "s3://seit-test/toy"), ids, labels, cache)
        shutil.rmtree(cache)
        path, ids, labels = stores.make(tmp_path / "large", grid=(32, 32))
        check_limited(upload(path, "s3://seit-test/large"), path, ids, cache)
        with pytest.raises(StoreError, match="already holds another token data set"):
            upload(path, "s3://seit-test/toy")
    finally:
        running.stop()
