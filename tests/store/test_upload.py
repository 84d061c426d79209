"""Pushing a data set to a URL: whole or not at all, again after it has grown, and never over something else."""

import hashlib
import os
import re
import shutil
from multiprocessing import get_context

import numpy as np
import pytest
import served
import stores

from seit.errors import StoreError
from seit.store import TokenDataset, remote
from seit.store import manifest as manifests
from seit.store.append import append
from seit.store.remote import upload
from seit.store.verify import verify

fsspec = pytest.importorskip("fsspec", reason="remote stores need fsspec")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def s3():
    """A bucket of a real S3 server on this machine."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs s3fs")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    patch = pytest.MonkeyPatch()
    _, port = running.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3").clear_instance_cache()
    fsspec.filesystem("s3").mkdir("seit-test")
    yield "s3://seit-test"
    patch.undo()
    running.stop()


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """A URL that holds nothing yet, in each kind of store."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"file://{tmp_path}/there" if request.param == "file" else f"memory://bucket/{tmp_path.name}"


def names(place):
    system, root = fsspec.core.url_to_fs(place)
    system.invalidate_cache()
    return {os.path.basename(name) for name in system.ls(root, detail=False)} - {".lock"}


def rows(place):
    data = TokenDataset(place)
    return data.tokenizer_ids(np.arange(len(data)))


def named(path):
    """Files of the manifest, and those that stay for one generation."""
    manifest = manifests.read(path / manifests.NAME)
    return {file.file for file in (*manifest.files, *manifest.superseded)} | {manifests.NAME}


def grow(path, seed):
    """Appends rows with codes that are new, so that the codebook is written anew."""
    more, _, _ = stores.make(path.with_name(f"more-{seed}"), seed=seed, train=20, val=4)
    append(path, {"train": TokenDataset(more, "train"), "val": TokenDataset(more, "val")})


def narrow(path, **options):
    """Makes a store that uses the lower half of the codes alone."""
    writer = stores.writer(path, **options)
    ids = stores.random_ids(30, vocabulary=32)
    writer.write(0, "train", ids, np.zeros(30, np.int64), stores.table(30))
    return writer.commit()


def test_a_grown_data_set_is_pushed_again_and_what_nobody_names_any_more_goes(tmp_path, place):
    path = narrow(tmp_path / "out")
    assert upload(path, place) == place
    open_all_the_while, first = TokenDataset(place), named(path)
    system, root = fsspec.core.url_to_fs(place)
    system.pipe_file(f"{root}/notes.arrow", b"somebody's")
    grow(path, 1)
    assert upload(path, place) == place
    assert names(place) == named(path) | {"notes.arrow"}
    assert (rows(place) == rows(path)).all()
    assert open_all_the_while.ids(np.arange(30)).shape == (30, 8, 8), "its files stay for one generation"
    late = TokenDataset(place)
    for seed in (2, 3):
        grow(path, seed)
    assert upload(path, place) == place
    assert not first & names(place) - {manifests.NAME}
    assert names(place) - {"notes.arrow"} <= named(path), "nothing is left of the generations between"
    assert (rows(place) == rows(path)).all()
    with pytest.raises(StoreError, match="has moved on since it was opened; open it again"):
        late.names([len(late) - 1])


def test_the_same_folder_again_changes_nothing(tmp_path, place):
    path = narrow(tmp_path / "out")
    upload(path, place)
    system, root = fsspec.core.url_to_fs(place)
    before = {name: system.info(f"{root}/{name}") for name in names(place)}
    assert upload(path, place) == place
    assert {name: system.info(f"{root}/{name}") for name in names(place)} == before


def test_a_manifest_is_compared_and_copied_by_its_own_bytes(tmp_path):
    path = narrow(tmp_path / "out")
    data = (path / manifests.NAME).read_bytes().replace(b'"version": 1', b'"version":   1')
    zeroed = re.sub(rb'"digest": "\w{64}"', b'"digest": "' + b"0" * 64 + b'"', data)
    digest = hashlib.sha256(zeroed).hexdigest().encode()
    (path / manifests.NAME).write_bytes(zeroed.replace(b"0" * 64, digest))
    assert manifests.to_bytes(manifests.read(path / manifests.NAME)) != (path / manifests.NAME).read_bytes()
    place = f"file://{tmp_path}/there"
    upload(path, place)
    assert (tmp_path / "there" / manifests.NAME).read_bytes() == (path / manifests.NAME).read_bytes()
    assert upload(path, place) == place


def test_what_is_another_data_set_or_a_later_state_is_never_replaced(tmp_path, place):
    path = narrow(tmp_path / "out")
    shutil.copytree(path, tmp_path / "early")
    grow(path, 1)
    upload(path, place)
    held = names(place), rows(place)
    more, _, _ = stores.make(tmp_path / "more", seed=2, train=0, val=8)
    shutil.copytree(tmp_path / "early", tmp_path / "parted")
    append(tmp_path / "parted", {"val": TokenDataset(more, "val")})
    with pytest.raises(StoreError, match="already holds another token data set"):
        upload(tmp_path / "parted", place)
    with pytest.raises(StoreError, match="holds rows of this data set that are not here"):
        upload(tmp_path / "early", place)
    with pytest.raises(StoreError, match="already holds another token data set"):
        upload(narrow(tmp_path / "other", plan="plan 2"), place)
    with pytest.raises(StoreError, match="holds rows of this data set that are not here"):
        upload(stores.make(tmp_path / "third", seed=5)[0], place)
    with pytest.raises(StoreError, match="already holds another token data set"):
        upload(narrow(tmp_path / "fourth"), upload(stores.make(tmp_path / "fifth")[0], f"{place}-fifth"))
    assert names(place) == held[0]
    assert (rows(place) == held[1]).all()


def test_an_interrupted_push_goes_on_and_never_over_files_of_something_else(tmp_path, place):
    path = narrow(tmp_path / "out")
    system, root = fsspec.core.url_to_fs(place)
    first = manifests.read(path / manifests.NAME).files[0].file
    system.makedirs(root, exist_ok=True)
    system.pipe_file(f"{root}/{first}", (path / first).read_bytes())
    upload(path, place)
    assert (rows(place) == rows(path)).all()
    other = f"{place}-other"
    system.makedirs(f"{root}-other", exist_ok=True)
    system.pipe_file(f"{root}-other/{first}", b"somebody's")
    with pytest.raises(StoreError, match=f"holds another {first}, which no manifest names"):
        upload(path, other)
    assert system.cat_file(f"{root}-other/{first}") == b"somebody's"
    assert names(other) == {first}


def test_a_damaged_folder_is_not_pushed(tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    file = stores.file_of(path, "val")
    data = bytearray(file.read_bytes())
    data[900] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{file.name}: is damaged or missing; run seit verify"):
        upload(path, f"file://{tmp_path}/there")
    assert not (tmp_path / "there" / manifests.NAME).exists()
    with pytest.raises(StoreError, match="nothing: is not a token data set"):
        upload(tmp_path / "nothing", f"file://{tmp_path}/there")


def push_at_once(path, place, start, results):
    start.wait()
    try:
        results.put(upload(path, place))
    except StoreError as error:
        results.put(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_of_two_that_push_at_once_one_wins_and_its_data_set_is_whole(tmp_path, s3, attempt):
    place = f"{s3}/race-{attempt}"
    paths = [narrow(tmp_path / "a", plan="a"), stores.make(tmp_path / "b", seed=4, plan="b")[0]]
    context = get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    pushers = [context.Process(target=push_at_once, args=(path, place, start, results)) for path in paths]
    for pusher in pushers:
        pusher.start()
    said = [results.get(timeout=120) for _ in pushers]
    for pusher in pushers:
        pusher.join()
    if place in said:  # else each found a file of the other first: nothing can be read there, nothing is mixed
        assert sorted(len(text) for text in said)[0] == len(place)
        system, root = fsspec.core.url_to_fs(place)
        system.invalidate_cache()
        system.get(root, str(tmp_path / "copy"), recursive=True)
        assert verify(tmp_path / "copy", decode=True) == []
    else:
        with pytest.raises(StoreError, match="is not a token data set"):
            TokenDataset(place)


@pytest.mark.slow
@pytest.mark.parametrize("held", ["nothing", "an earlier state"])
def test_s3_refuses_a_manifest_where_another_one_appeared_meanwhile(tmp_path, s3, monkeypatch, held):
    path, place = narrow(tmp_path / "out"), f"{s3}/over {held}"
    if held != "nothing":
        upload(path, place)
        grow(path, 1)
    put = remote._put_manifest

    def put_late(system, target, *arguments):
        system.pipe_file(target, b"another's")
        put(system, target, *arguments)

    monkeypatch.setattr(remote, "_put_manifest", put_late)
    with pytest.raises(StoreError, match="was put there by another process meanwhile"):
        upload(path, place)
    system, root = fsspec.core.url_to_fs(place)
    assert system.cat_file(f"{root}/{manifests.NAME}") == b"another's"


@pytest.mark.slow
def test_a_store_that_knows_no_conditions_takes_a_push_all_the_same(tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="needs s3fs")
    objects, refused = {}, set()
    unknown = b"<Error><Code>NotImplemented</Code><Message>A header you provided</Message></Error>"

    def answer(method, path, body):
        if method == "PUT" and path not in refused:
            refused.add(path)
            return 501, {"Content-Type": "application/xml"}, unknown
        if method == "PUT":
            objects[path] = body
            return 200, {"ETag": '"x"'}, b""
        if path in objects:
            return 200, {"ETag": '"x"', "Last-Modified": "Fri, 27 Nov 2026 10:00:00 GMT"}, objects[path]
        return (200, {}, b"<ListBucketResult/>") if path == "/old" else (404, {}, b"")

    server = served.Served(answer)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    fsspec.filesystem("s3").clear_instance_cache()
    path = narrow(tmp_path / "out")
    upload(path, "s3://old/toy")
    assert refused == {f"/old/toy/{name}" for name in named(path)}
    assert objects == {f"/old/toy/{name}": (path / name).read_bytes() for name in named(path)}
    server.close()
    fsspec.filesystem("s3").clear_instance_cache()
