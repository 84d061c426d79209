"""What changes a store: whose files are touched, and what readers see that opened it before."""

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import stores

from seit import files
from seit.errors import BusyError, SeitError, StoreError
from seit.store import TokenDataset, ipc
from seit.store import manifest as manifests
from seit.store.append import append
from seit.store.joined import Joined
from seit.store.publish import publish, rewriting
from seit.store.repair import repair
from seit.store.staging import Part
from seit.store.verify import verify
from seit.verbs.edit import edit

FOREIGN = [
    "mine.safetensors",
    "notes.arrow",
    "codebook-0.safetensors",
    "train-00000.arrow",
    "train-00000-0123456789abcdef.arrow",
    "val-00001.rows.arrow",
    "codec.bin",
    ".hidden.tmp",
    ".my.arrow.123.tmp",
    "manifest.json.bak",
    "README.md",
]


def put_foreign(folder):
    for name in FOREIGN:
        (folder / name).write_bytes(name.encode())
    (folder / "a-folder.arrow").mkdir()
    (folder / "a-folder.arrow" / "x").write_bytes(b"x")


def check_foreign(folder):
    assert [name for name in FOREIGN if (folder / name).read_bytes() != name.encode()] == []
    assert (folder / "a-folder.arrow" / "x").read_bytes() == b"x"


def rebuilder(ids, labels):
    def rebuild(split, positions, names):
        rows = positions + (40 if split == "val" else 0)
        tables = [stores.table(20, "train/first"), stores.table(20, "train/second"), stores.table(12, "val/only")]
        return Part(split, ids[rows], labels[rows], stores.RowTable.join(tables).take(rows))

    return rebuild


def test_no_change_touches_a_file_that_seit_did_not_write(tmp_path):
    path, ids, labels = stores.make(tmp_path / "a", seed=1)
    other, _, _ = stores.make(tmp_path / "b", seed=2)
    put_foreign(path)
    for _ in range(3):
        append(path, {"train": TokenDataset(other)}, "zero-order")
        edit(path, terms="none")
    check_foreign(path)
    path, ids, labels = stores.make(tmp_path / "c", seed=1)
    put_foreign(path)
    for kind in ("data", "side"):
        stores.file_of(path, "val", kind=kind).unlink()
        repair(path, rebuilder(ids, labels))
    check_foreign(path)
    assert verify(path, decode=True) == []


def test_a_commit_leaves_what_others_put_into_the_partial_folder(tmp_path):
    w = stores.writer(tmp_path / "out")
    w.write(0, "train", stores.random_ids(4), np.zeros(4, int), stores.table(4))
    (w.partial / "notes.txt").write_text("mine")
    assert len(TokenDataset(w.commit())) == 4
    assert [path.name for path in w.partial.iterdir()] == ["notes.txt"]


def test_a_writing_folder_with_somebodys_files_is_refused_not_emptied(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    (path / ".writing").mkdir()
    (path / ".writing" / "thesis.tar").write_text("mine")
    with pytest.raises(StoreError, match="holds files that seit did not write"):
        edit(path, terms="x")
    assert (path / ".writing" / "thesis.tar").read_text() == "mine"


@pytest.mark.parametrize("stop", ["moved", "written"])
def test_what_a_killed_change_left_is_removed_by_the_next_one(tmp_path, monkeypatch, stop):
    path, _, _ = stores.make(tmp_path / "a", seed=1)
    other, _, _ = stores.make(tmp_path / "b", seed=2)
    before = {file.name for file in path.iterdir()}
    real, moves = os.replace, []

    def dying(source, target):
        if Path(target).parent == path:
            if stop == "written" or len(moves) == 2:
                os._exit(9)  # as SIGKILL: nothing is cleaned up
            moves.append(target)
        real(source, target)

    child = os.fork()
    if child == 0:
        os.replace = dying
        append(path, {"train": TokenDataset(other)}, "zero-order")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = {file.name for file in path.iterdir()} - before
    assert len(left) == (4 if stop == "moved" else 2), "the lock, the writing folder and what was moved already"
    assert len(TokenDataset(path)) == 52
    edit(path, terms="x")
    assert {file.name for file in path.iterdir()} == before | {".lock"}
    assert verify(path, decode=True) == []


def test_a_change_that_no_reader_would_accept_is_not_published(tmp_path, monkeypatch):
    path, ids, _ = stores.make(tmp_path / "a", seed=1)
    other, _, _ = stores.make(tmp_path / "b", seed=2)
    from seit.codecs.base import Codec

    encode = Codec.encode

    def wrong(self, ids):
        payload, offsets = encode(self, ids)
        return payload ^ (np.arange(len(payload)) == len(payload) // 2), offsets

    for harm in (wrong, lambda self, ids: encode(self, np.roll(ids, 1, 2))):
        with monkeypatch.context() as patch:
            patch.setattr(Codec, "encode", harm)
            with pytest.raises(StoreError):
                append(path, {"train": TokenDataset(other)}, "zero-order")
        assert verify(path, decode=True) == []
        assert (TokenDataset(path).tokenizer_ids(range(52)) == ids).all()
    with pytest.raises(StoreError, match="the class 'dog' occurs twice"):
        edit(path, classes={"cat": "dog"})
    with pytest.raises(StoreError, match="cannot be written as JSON"):
        edit(path, metadata={"share": float("inf")})
    assert TokenDataset(path).manifest.generation == 1


def grow(path, number):
    other, _, _ = stores.make(path.parent / f"more{number}", seed=number)
    append(path, {"train": TokenDataset(other)}, "zero-order")


def test_a_reader_of_before_a_change_keeps_its_rows_codebook_and_counts(tmp_path):
    path, ids, labels = stores.make(tmp_path / "a", seed=1, vocabulary=64)
    reader = TokenDataset(path)
    counts, codebook = reader.counts.copy(), TokenDataset(path).codebook
    grow(path, 2)
    assert (reader.tokenizer_ids(range(52)) == ids).all()
    assert (reader.labels == labels).all()
    assert (reader.codebook == codebook).all()
    assert reader.names([0]) == ["train/first/00000.jpg"]
    for number in range(3, 6):
        grow(path, number)
        assert (reader.counts == counts).all()
        fresh = TokenDataset(path)
        with contextlib.suppress(StoreError):  # it may be told to open the data set again
            assert (fresh.used_codes[reader.ids(range(52))] == ids).all()


def test_a_reader_too_old_for_what_it_asks_is_told_that_the_data_set_has_moved_on(tmp_path):
    path, _, _ = stores.make(tmp_path / "a", seed=1)
    reader = TokenDataset(path)
    for number in range(2, 5):
        grow(path, number)
    with pytest.raises(StoreError, match="has moved on from generation 1 to 4 since it was opened; open it again"):
        reader.ids([0])
    with pytest.raises(StoreError, match="has moved on"):
        reader.names([0])


def test_a_data_set_made_anew_at_the_same_place_is_never_taken_for_the_old_one(tmp_path):
    path, _, _ = stores.make(tmp_path / "a", seed=1)
    reader = TokenDataset(path)
    path.rename(tmp_path / "gone")
    stores.make(tmp_path / "a", seed=2)
    with pytest.raises(StoreError, match="is missing"):
        reader.ids([0])


def _rows_in(data):
    return data.tokenizer_ids(range(52)), data.codebook


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_started_after_an_append_read_the_version_that_was_opened(tmp_path, method):
    path, ids, _ = stores.make(tmp_path / "a", seed=1)
    reader = TokenDataset(path)
    grow(path, 2)
    with multiprocessing.get_context(method).Pool(1) as pool:
        read, codebook = pool.apply(_rows_in, (reader,))
    assert (read == ids).all()
    assert (codebook == reader.codebook).all()


def test_many_appends_leave_few_shards_and_one_codebook(tmp_path):
    path, ids, _ = stores.make(tmp_path / "a", train=8, val=2, seed=1)
    small, more, _ = stores.make(tmp_path / "b", train=8, val=2, seed=1)
    for _ in range(40):
        append(path, {"train": TokenDataset(small)}, "zero-order")
    data = TokenDataset(path)
    assert data.splits == {"train": 8 + 400, "val": 2}
    assert len(data.manifest.shards) <= 10
    assert len(data.manifest.codecs) == 1
    expected = np.concatenate([ids[:8], *[more] * 40])
    assert (TokenDataset(path, "train").tokenizer_ids(range(408)) == expected).all()
    assert len(list(path.iterdir())) <= 2 * len(data.manifest.files) + 3
    assert verify(path, decode=True) == []


def _classes_of(label, names):
    """The names of a row's classes, whatever the kind of its label."""
    numbers = np.flatnonzero(label) if np.ndim(label) else [label] * int(label >= 0)
    return {names[number] for number in numbers}


def test_classes_can_grow_in_every_kind_of_labels(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("class", "multi", "soft"):
        expected, paths = [], []
        for name, classes in (("a", ("cat", "dog")), ("b", ("eel", "dog", "fox"))):
            weights = (rng.random((20, len(classes))) * rng.integers(0, 2, (20, len(classes)))).astype(np.float32)
            labels = {"class": rng.integers(-1, len(classes), 20), "multi": weights > 0, "soft": weights}[kind]
            w = stores.writer(tmp_path / f"{kind}-{name}", classes=classes)
            w.write(0, "train", stores.random_ids(20, seed=len(classes)), labels, stores.table(20, name))
            paths.append(w.commit())
            expected += [_classes_of(row, classes) for row in labels]
        append(paths[0], {"train": TokenDataset(paths[1])}, "zero-order")
        data = TokenDataset(paths[0])
        assert data.classes == ["cat", "dog", "eel", "fox"]
        assert [_classes_of(row, data.classes) for row in data.labels] == expected
        counts = [sum(name in row for row in expected) for name in data.classes]
        assert data.manifest.class_counts["train"].tolist() == counts
        assert verify(paths[0], decode=True) == []


def test_a_shard_written_for_few_classes_is_read_when_there_are_many(tmp_path):
    path, _, labels = stores.make(tmp_path / "a", seed=1)
    small = stores.file_of(path, "val").read_bytes()
    w = stores.writer(tmp_path / "b", classes=("dog", *(f"class {i}" for i in range(300))))
    w.write(0, "train", stores.random_ids(9), np.arange(9) + 200, stores.table(9))
    append(path, {"train": TokenDataset(w.commit())}, "zero-order")
    assert stores.file_of(path, "val").read_bytes() == small, "an int8 column"
    data = TokenDataset(path)
    assert len(data.classes) == 302
    assert (TokenDataset(path, "val").labels == labels[40:]).all()
    assert data.label_kind == "class"
    assert verify(path, decode=True) == []


def test_a_shard_without_its_codec_is_mended_from_another_ones_copy(tmp_path):
    path, ids, _ = stores.make(tmp_path / "a", seed=1)
    file = stores.file_of(path, "train")
    data = file.read_bytes()
    place = data.index(json.loads(pa.ipc.open_file(file).schema.metadata[b"seit"])["codec"].encode()) + 40
    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(StoreError, match="its codec does not match its SHA-256"):
        TokenDataset(path).ids([0])
    (damage,) = verify(path)
    assert damage.rows == []

    def never(*_):
        raise AssertionError("nothing needs to be tokenized again")

    (done,) = repair(path, never)
    assert (done.file, done.rows) == (file.name, 0)
    assert (TokenDataset(path).tokenizer_ids(range(52)) == ids).all()
    assert verify(path, decode=True) == []


@pytest.mark.parametrize("grid", [(8, 8), (32, 32)])
def test_a_flipped_bit_of_payload_or_label_never_reads_as_another_row(tmp_path, grid):
    path, ids, labels = stores.make(tmp_path / "a", 20, 6, grid=grid)
    file = stores.file_of(path, "train")
    original = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(original), 150).tolist():
        file.write_bytes(original[:place] + bytes([original[place] ^ 1 << place % 8]) + original[place + 1 :])
        for want, ask in ((ids, "tokenizer_ids"), (labels, "labels_at")):
            data = TokenDataset(path, "train")
            for row in (0, 19):
                with contextlib.suppress(SeitError):
                    assert (getattr(data, ask)([row])[0] == want[row]).all(), (place, row)


def test_a_shard_compressed_inside_is_refused_before_it_is_inflated(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    file = stores.file_of(path, "val")
    bomb = {"payload": pa.array([bytes(64 << 20)] * 8, pa.binary()), "check": pa.array(np.zeros(8, np.uint32))}
    ipc.write_batch(file, bomb, {}, "zstd")
    manifest = TokenDataset(path).manifest
    entry = next(shard for shard in manifest.shards if shard.split == "val")
    file.write_bytes(file.read_bytes()[: entry.data.bytes].ljust(entry.data.bytes, b"\0"))
    before = pa.total_allocated_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match=r"is compressed|is not a readable shard"):
        TokenDataset(path, "val").labels_at([0])
    assert pa.total_allocated_bytes() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 << 10


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_any_compression_and_any_number_of_batches_but_one_is_refused(tmp_path, compression):
    file = tmp_path / "x.arrow"
    big = {"x": pa.array(np.zeros(1 << 20))}
    ipc.write_batch(file, big, {}, compression)
    with pytest.raises(StoreError, match="is compressed to become 8388608 bytes; allowed: none"):
        ipc.read_batch(file, True)
    with pytest.raises(StoreError, match="allowed: 100000 bytes"):
        ipc.read_batch(file, True, largest=100_000)
    assert ipc.read_batch(file, True, largest=9 << 20).num_rows == 1 << 20
    batch = pa.record_batch([np.arange(5)], ["x"])
    for count in (0, 2):
        with pa.ipc.new_file(str(file), batch.schema) as out:
            for _ in range(count):
                out.write_batch(batch)
        with pytest.raises((StoreError, *ipc.Unreadable)):
            ipc.read_batch(file, True)


def test_rows_can_be_read_without_mapping_where_files_may_be_cut_short(tmp_path):
    path, _, _ = stores.make(tmp_path / "a", 200, 12, grid=(32, 32))
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from seit.store import TokenDataset
data = TokenDataset({str(path)!r}, "train", mapped=sys.argv[1] == "mapped")
data.ids([0])
os.truncate(data.local(data.manifest.shards[0].data), 4096)
print(data.ids([199]).shape)
"""
    run = [sys.executable, "-c", program]
    file = stores.file_of(path, "train")
    whole = file.read_bytes()
    assert subprocess.run([*run, "mapped"], capture_output=True).returncode < 0, "mapping dies: SIGBUS"
    file.write_bytes(whole)
    ended = subprocess.run([*run, "read"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "(1, 32, 32)\n"), ended.stderr


def test_verifying_takes_time_in_proportion_to_the_shards(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    manifest = TokenDataset(path).manifest
    times = []
    for count in (500, 4000):
        first, rounds = manifest.shards[0], []
        shards = [replace(first, rows=0, data=_file(f"d{i}"), side=_file(f"s{i}")) for i in range(count)]
        manifests.write(path, replace(manifest, shards=[*manifest.shards, *shards]))
        for _ in range(3):  # the least: one of them may clear away what other tests left
            start = time.process_time()
            assert len(verify(path)) == 2 * count
            rounds.append(time.process_time() - start)
        times.append(min(rounds))
    assert times[1] < 8 * times[0] * 2, times


@pytest.mark.parametrize("harm", ["missing", "codec"])
def test_a_manifest_is_read_once_and_no_shard_twice_however_many_are_damaged(tmp_path, monkeypatch, harm):
    path, _, _ = stores.make(tmp_path / "a", train=40, val=2)
    for number in range(2, 8):
        monkeypatch.setattr("seit.store.encode.SHARD_CELLS", 5 * 64)  # five rows a shard
        grow(path, number)
    files = [stores.file_of(path, "train", number) for number in range(50)]
    for file in files:
        if harm == "missing":
            file.unlink()
        else:
            data = file.read_bytes()
            place = data.index(b'"codec": "') + 60
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    calls = {"manifest": 0, "shard": 0}
    read, opened = manifests.read, ipc.read_batch
    counting = lambda name, real: lambda *a, **k: calls.update({name: calls[name] + 1}) or real(*a, **k)  # noqa: E731
    monkeypatch.setattr(manifests, "read", counting("manifest", read))
    monkeypatch.setattr(ipc, "read_batch", counting("shard", opened))
    damages = verify(path)
    assert {damage.file for damage in damages} == {file.name for file in files}
    assert calls["manifest"] == 1
    assert calls["shard"] <= 3 * len(TokenDataset(path).manifest.shards)


def _file(name):
    return manifests.File(name, 10, "0" * 64)


def test_deep_verification_compares_the_manifests_counts_with_the_rows(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    manifest = TokenDataset(path).manifest
    swapped = {split: counts[::-1] for split, counts in manifest.class_counts.items()}
    for change in ({"class_counts": swapped}, {"code_counts": manifest.code_counts[::-1]}):
        manifests.write(path, replace(manifest, **change))
        assert verify(path) == []
        assert verify(path, decode=True)[0].file == "manifest.json"


def test_an_edit_renames_classes_and_keeps_rows_terms_and_unknown_fields(tmp_path):
    path, _, _ = stores.make(tmp_path / "a", metadata={"owner": "me", "year": 2020})
    manifest = TokenDataset(path).manifest
    manifests.write(path, replace(manifest, extra={"colour": "sRGB"}))
    shards = TokenDataset(path).manifest.shards
    edit(path, classes={"cat": "kitten"}, terms="CC0", metadata={"year": None, "tags": ["a", 1]})
    data = TokenDataset(path)
    assert data.classes == ["kitten", "dog"]
    assert (data.source["terms"], data.source["name"]) == ("CC0", "toy source")
    assert data.manifest.metadata == {"owner": "me", "tags": ["a", 1]}
    assert data.manifest.extra == {"colour": "sRGB"}
    assert data.manifest.shards == shards
    assert data.manifest.generation == 2
    with pytest.raises(StoreError, match="no class 'bird'"):
        edit(path, classes={"bird": "x"})
    other, _, _ = stores.make(tmp_path / "b", classes=("kitten", "dog"), seed=5)
    append(path, {"train": TokenDataset(other)}, "zero-order")
    assert TokenDataset(path).manifest.extra == {"colour": "sRGB"}
    assert TokenDataset(path).manifest.metadata == {"owner": "me", "tags": ["a", 1]}


def test_a_second_writer_is_refused_in_one_line_also_from_another_thread(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    with rewriting(path) as (data, writing):
        with pytest.raises(BusyError, match="is being written by another process; wait for it"):
            edit(path, terms="x")
        publish(path, writing, data.manifest, data.manifest)
    ready, held = os.pipe()
    child = os.fork()
    if child == 0:
        with files.lock(path / ".lock"):
            os.write(held, b"x")
            time.sleep(30)
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(BusyError):
        append(path, {"train": TokenDataset(path)})
    os.kill(child, 9)
    os.waitpid(child, 0)
    edit(path, terms="y")
    assert TokenDataset(path).source["terms"] == "y"


def test_a_file_system_without_locks_is_written_to_with_a_warning(tmp_path, monkeypatch, caplog):
    import fcntl

    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path, _, _ = stores.make(tmp_path / "a")
    monkeypatch.setattr(fcntl, "lockf", refused)
    edit(path, terms="z")
    assert TokenDataset(path).source["terms"] == "z"
    assert "a second writer would not be noticed" in caplog.text


@pytest.mark.parametrize("field", ["tokenizer", "source", "created"])
def test_a_manifest_without_any_field_is_refused_or_described(tmp_path, field):
    from test_manifest import sealed

    from seit.store.describe import describe

    path, _, _ = stores.make(tmp_path / "a")
    good = json.loads((path / "manifest.json").read_bytes())
    for key in [*good, *((field, inner) for inner in good[field])]:
        value = json.loads(json.dumps(good))
        if isinstance(key, tuple):
            del value[key[0]][key[1]]
        else:
            del value[key]
        value.pop("digest", None)
        (path / "manifest.json").write_bytes(sealed(value))
        with contextlib.suppress(StoreError):
            describe(path)
            verify(path, decode=True)


def test_appending_to_what_is_not_there_names_it(tmp_path):
    path, _, _ = stores.make(tmp_path / "a")
    for nothing in (tmp_path / "nothere", tmp_path):
        with pytest.raises(StoreError, match=f"{nothing}: is not a token data set"):
            append(nothing, {"train": TokenDataset(path)})
    assert not (tmp_path / "nothere").exists()
    assert not (tmp_path / ".lock").exists()


def test_rows_of_two_generations_can_be_joined(tmp_path):
    path, ids, _ = stores.make(tmp_path / "a", seed=1)
    old = TokenDataset(path)
    grow(path, 2)
    both = Joined([old, TokenDataset(path, "val")])
    assert (both.used_codes[both.ids(range(52))] == ids).all()
    assert verify(path) == []
