"""Reading through a URL: what is fetched, how often, what the cache keeps, and what it never touches."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import served
import stores

from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.cache import FOLDER
from seit.store.describe import describe
from seit.store.entries import File
from seit.store.remote import RemoteFolder, upload

fsspec = pytest.importorskip("fsspec", reason="remote stores need fsspec")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that the cache owns."""
    monkeypatch.setenv("SEIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FOLDER


@pytest.fixture
def serve():
    """Serves by a function until the test ends."""
    servers = []

    def start(answer):
        servers.append(served.Served(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


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
    check(upload(path, "memory://bucket/toy"), ids, labels, cache)


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
    assert not list(cache.glob(f"*{name}*"))


def mapped_bytes(folder):
    """Bytes of a folder's files that this process maps, deleted ones too."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    return sum(int(end, 16) - int(start, 16) for start, end in (line[0].split("-") for line in lines))


def size_of(cache):
    return sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())


def check_limited(url, path, ids, cache):
    """Reads all shards through a cache that holds one of them."""
    sizes = [shard.data.bytes for shard in TokenDataset(path).manifest.shards]
    limit = max(sizes) + 2000
    data = TokenDataset(url, cache_bytes=limit)
    for _ in range(2):
        for row in (0, 51, 20):
            assert (data.tokenizer_ids([row]) == ids[row]).all()
            assert size_of(cache) <= limit
            if sys.platform == "linux":
                assert mapped_bytes(cache) <= limit + 8192, "evicted files are let go of"
    assert (data.tokenizer_ids(np.arange(52)) == ids).all()
    with pytest.raises(StoreError, match="exceeds the cache"):
        TokenDataset(url, cache_bytes=100).ids([0])


def test_the_cache_keeps_within_its_limit(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    check_limited(upload(path, "memory://bucket/limited"), path, ids, cache)


def test_a_url_without_a_store_is_refused(cache):
    with pytest.raises(StoreError, match="is not a token data set"):
        TokenDataset("memory://bucket/nothing")


# What the cache owns


def test_nothing_of_others_is_touched_beside_the_cache_or_in_it(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    old = {
        cache.parent / "my-thesis.tar": b"years of work",
        cache.parent / ".my-config": b"settings",
        cache.parent / f"{'a' * 64}-train-00000.arrow": b"looks like one of ours",
        cache.parent / f".{'a' * 64}-x.arrow.7.tmp": b"looks like one of ours",
        cache / "notes-of-mine": b"in the wrong place",
        cache / ".hidden-note.tmp": b"in the wrong place",
        cache / f"{'b' * 40}-codec.bin": b"another program's",
        cache / f"{'c' * 64}-a folder" / "inside": b"in a folder",
        cache / f".{'d' * 64}-x.1.tmp" / "inside": b"in a folder",
        cache / f"{'e' * 64}-bin" / "inside": b"in a folder of a name like ours",
    }
    for file, data in old.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (1, 1))
    url = upload(path, f"file://{tmp_path}/there")
    data = TokenDataset(url, cache_bytes=max(s.data.bytes for s in TokenDataset(path).manifest.shards) + 2000)
    for row in (0, 51, 20):
        assert (data.tokenizer_ids([row]) == ids[row]).all()
    assert data.names([0, 51])
    assert {file: file.read_bytes() for file in old} == old


def test_a_name_from_a_manifest_never_leaves_the_cache(tmp_path, cache):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x-codec.bin").write_bytes(b"theirs")
    os.utime(tmp_path / "victim" / "x-codec.bin", (1, 1))
    folder = RemoteFolder("memory://bucket/hostile")
    fsspec.filesystem("memory").pipe_file("/bucket/hostile/codec.bin", b"theirs")
    for sha256, name in (
        (f"{tmp_path}/victim/x", "codec.bin"),
        ("../../victim/x", "codec.bin"),
        ("zz", "codec.bin"),
        ("a" * 64, "../../victim/x-codec.bin"),
        ("A" * 64, "codec.bin"),
    ):
        with pytest.raises(StoreError, match="is not a SHA-256 and a bare file name"):
            folder.fetch(File(name, 6, sha256))
    assert (tmp_path / "victim" / "x-codec.bin").stat().st_mtime == 1
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["x-codec.bin"]


def test_a_download_stops_at_the_size_that_the_manifest_names(tmp_path, cache, serve):
    path, _, _ = stores.make(tmp_path / "out")

    def answer(method, name, body):
        if name == f"/{stores.file_of(path, 'val').name}":
            return 200, {}, (bytes(1 << 20) for _ in range(1000))
        return served.folder(path)(method, name, body)

    server = serve(answer)
    data = TokenDataset(server.url, "val")
    with pytest.raises(StoreError, match="is not what its manifest says"):
        data.ids([0])
    assert server.sent < 100 << 20, "a server that never ends fills no disk"
    assert size_of(cache) < 1000


@pytest.mark.parametrize("harm", ["flip", "cut", "grow"])
def test_a_damaged_copy_is_fetched_again(tmp_path, cache, harm):
    path, ids, labels = stores.make(tmp_path / "out")
    url = upload(path, f"file://{tmp_path}/there")
    data = TokenDataset(url)
    assert (data.tokenizer_ids(np.arange(52)) == ids).all()
    (copy,) = cache.glob(f"*-{stores.file_of(path, 'train').name}")
    there = bytearray(copy.read_bytes())
    there[there.index(labels[:40].astype(np.int8).tobytes())] ^= 1
    copy.unlink()  # what is mapped already stays as it is
    copy.write_bytes({"flip": there, "cut": there[:-1], "grow": there + b"x"}[harm])
    again = TokenDataset(url)
    assert (again.labels == labels).all()
    assert (again.tokenizer_ids(np.arange(52)) == ids).all()


def test_what_is_mapped_stays_readable_when_it_is_evicted(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    data = TokenDataset(upload(path, "memory://bucket/mapped"))
    assert (data.tokenizer_ids([0]) == ids[0]).all()
    for copy in cache.glob("*-*"):
        copy.unlink()
    assert (data.tokenizer_ids(np.arange(40)) == ids[:40]).all()


# Several processes


def read_all(url, limit, rows, results):
    """Reads some rows, and sends back the ids or the error."""
    try:
        data = TokenDataset(url, cache_bytes=limit)
        results.put(np.concatenate([data.tokenizer_ids([row]) for row in rows]))
    except BaseException as error:
        results.put(repr(error))


def read_by(kind, count, *arguments):
    """Lets several processes read at once; returns what each of them read."""
    context = get_context(kind)
    results = context.Queue()
    readers = [context.Process(target=read_all, args=(*arguments, results)) for _ in range(count)]
    for reader in readers:
        reader.start()
    read = [results.get(timeout=120) for _ in readers]
    for reader in readers:
        reader.join()
    return read


def slowly(path):
    """Answers with a folder's files, in pieces and with pauses, so that fetches overlap."""
    plain = served.folder(path)

    def answer(method, name, body):
        status, headers, data = plain(method, name, body)
        if status == 404 or name.endswith(".json"):
            return status, headers, data
        pieces = (time.sleep(0.02) or data[i : i + 4096] for i in range(0, len(data), 4096))
        return status, headers | {"Content-Length": str(len(data))}, pieces

    return answer


@pytest.mark.parametrize("kind", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_several_processes_fetch_each_file_once(tmp_path, cache, serve, kind):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    server = serve(slowly(path))
    TokenDataset(server.url)  # a connection that forked processes must not use
    for read in read_by(kind, 6, server.url, 1 << 30, range(0, 52, 3)):
        assert (read == ids[::3]).all(), read
    fetched = sorted(request for request in server.asked if request.startswith("GET") and "manifest" not in request)
    assert fetched == sorted({*fetched}), "once each, however many ask at once"
    assert len(fetched) == 2
    assert not list(cache.glob(".*-*"))


def test_a_forked_worker_reads_on_through_the_data_set_it_inherited(tmp_path, cache, serve):
    path, ids, _ = stores.make(tmp_path / "out")
    data = TokenDataset(serve(served.folder(path)).url)
    assert (data.tokenizer_ids([0]) == ids[0]).all()
    results = get_context("fork").Queue()

    def work():
        with contextlib.suppress(BaseException):
            results.put((data.tokenizer_ids([51]) == ids[51]).all())

    worker = get_context("fork").Process(target=work)
    worker.start()
    assert results.get(timeout=60)
    worker.join()


@pytest.mark.slow
def test_processes_that_make_room_at_once_do_not_trip_each_other(tmp_path, cache):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    limit = max(shard.data.bytes for shard in TokenDataset(path).manifest.shards) + 2000
    rows = [0, 51, 20] * 20
    for read in read_by("fork", 4, f"file://{path}", limit, rows):
        assert not isinstance(read, str), read
        assert (read == ids[rows]).all()
    assert size_of(cache) <= limit


FETCH = "import sys; from seit.store import TokenDataset; TokenDataset(sys.argv[1]).ids([0])"


def test_half_fetched_files_stay_while_their_owner_lives_and_go_when_it_is_dead(tmp_path, cache, serve):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    server = serve(slowly(path))
    owner = subprocess.Popen([sys.executable, "-c", FETCH, server.url])
    try:
        deadline = time.monotonic() + 60
        while not (partial := list(cache.glob(".*-train-*.tmp"))) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(owner.pid, signal.SIGSTOP)  # alive, and getting nowhere
        os.utime(partial[0], (1, 1))
        assert (TokenDataset(f"file://{path}").tokenizer_ids([51]) == ids[51]).all()
        assert partial[0].exists(), "however old it looks"
    finally:
        owner.kill()
        owner.wait()
    assert partial[0].exists()
    assert (TokenDataset(f"file://{path}").tokenizer_ids([20]) == ids[20]).all()
    assert not partial[0].exists()
    assert (TokenDataset(server.url).tokenizer_ids([0]) == ids[0]).all()


@pytest.mark.slow
def test_killed_fetchers_leave_nothing_wrong_and_nothing_behind(tmp_path, cache, serve):
    path, ids, _ = stores.make(tmp_path / "out", grid=(32, 32))
    server = serve(slowly(path))
    limit = max(shard.data.bytes for shard in TokenDataset(path).manifest.shards) + 2000
    open_all_the_while = TokenDataset(server.url, "val", cache_bytes=limit)
    assert (open_all_the_while.tokenizer_ids([3]) == ids[43]).all()
    context, random = get_context("fork"), np.random.default_rng(0)
    for _ in range(40):
        results = context.Queue()
        rows = random.permutation(52)[:6].tolist()
        fetchers = [context.Process(target=read_all, args=(server.url, limit, rows, results)) for _ in range(2)]
        for fetcher in fetchers:
            fetcher.start()
        time.sleep(random.random() * 0.3)
        for fetcher in fetchers:
            fetcher.kill()
            fetcher.join()
        assert (open_all_the_while.tokenizer_ids([5]) == ids[45]).all()
        assert size_of(cache) <= limit
    assert list(cache.glob(".*.tmp")), "some were killed while they fetched"
    for copy in cache.glob("*-*"):
        copy.unlink()
    assert (TokenDataset(server.url, cache_bytes=1 << 30).tokenizer_ids(np.arange(52)) == ids).all()
    assert not list(cache.glob(".*.tmp"))


AS_NOBODY = """
import os, sys
import numpy as np
from seit.errors import SeitError
from seit.store import TokenDataset
url, split, limit = sys.argv[1:]
TokenDataset(url.removeprefix("file://")).ids([0])
data = TokenDataset(url, split, int(limit))  # all is imported now; the packages may lie where nobody else may read
os.setuid(65534)
try:
    print(data.ids(np.arange(len(data))).sum())
except SeitError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can be another user")
def test_another_users_cache_is_read_and_says_so_where_it_cannot_be_written(tmp_path, cache):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    path, _, _ = stores.make(tmp_path / "out")
    url = f"file://{path}"
    whole = TokenDataset(url, "val").ids(np.arange(12)).sum()

    def read(split, limit=1 << 30):
        program = [sys.executable, "-c", AS_NOBODY, url, split, str(limit)]
        done = subprocess.run(program, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert read("val") == str(whole)
    assert "Permission denied; make room, or set SEIT_CACHE to a folder of your own" in read("train")
    for folder in (cache, cache / "locks"):
        folder.chmod(0o777)
    expected = str(TokenDataset(path, "train").ids(np.arange(40)).sum())
    assert read("train") == expected
    for copy in cache.glob("*-*"):  # root's now, in a folder where nobody may remove what is root's
        copy.unlink()
    assert TokenDataset(url, "val").ids([0]).shape == (1, 8, 8)
    (cache / f".{'a' * 64}-dead.1.tmp").write_bytes(bytes(9000))
    cache.chmod(0o1777)
    tight = TokenDataset(path).manifest.shards[0].data.bytes + 1000
    assert "other users' files leave no room" in read("train", tight)
    assert read("train", tight + 30_000) == expected


# Servers that fail


def test_no_server_and_no_rights_end_in_one_line(cache, monkeypatch):
    with pytest.raises(StoreError, match=r"^http://127.0.0.1:1/x/manifest.json: cannot be reached .*check the URL"):
        TokenDataset("http://127.0.0.1:1/x")
    with pytest.raises(StoreError, match="install what it names"):
        TokenDataset("nonsense://x")
    with pytest.raises(StoreError, match="write file:///, then the path"):
        TokenDataset("file://out")


def test_a_url_that_holds_another_version_by_now_says_so(tmp_path, cache):
    path, _, _ = stores.make(tmp_path / "out")
    url = upload(path, "memory://bucket/moves")
    data = TokenDataset(url)
    system = fsspec.filesystem("memory")
    gone = stores.file_of(path, "val").name
    system.rm_file(f"/bucket/moves/{gone}")
    with pytest.raises(StoreError, match=rf"{gone}: is missing; upload the data set again"):
        data.ids([51])
    other, _, _ = stores.make(tmp_path / "other", val=0, seed=3)
    system.pipe_file("/bucket/moves/manifest.json", (other / "manifest.json").read_bytes())
    with pytest.raises(StoreError, match="has moved on since it was opened; open it again"):
        data.ids([51])
