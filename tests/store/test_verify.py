import contextlib
import os

import numpy as np
import pytest
import stores
from stress import corruptions

from seit.errors import SeitError, StoreError
from seit.store import TokenDataset
from seit.store.repair import repair
from seit.store.staging import Part
from seit.store.verify import verify


def flip(path, place, bit=0x40):
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


def in_child(work):
    """Runs `work` in a forked child; returns its exit status, 0 if it returned (a crash is a signal, below 0)."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module", params=[(8, 8), (32, 32)], ids=["blocks of rows", "rows alone"])
def whole(request, tmp_path_factory):
    path, ids, labels = stores.make(tmp_path_factory.mktemp("verify") / "out", 20, 6, grid=request.param)
    return path, ids, labels


def test_a_whole_store_has_no_damage(whole):
    assert verify(whole[0], decode=True) == []


def flip_bytes(path, places):
    """Flips one bit at each place of every file: all found, and reads end in an error or ids in range."""
    for file in sorted(path.iterdir()):
        original = file.read_bytes()
        for place in places(len(original)):
            flip(file, place, 1 << (place % 8))
            found = verify(path)
            assert any(damage.file == file.name for damage in found), (found, file, place)
            with contextlib.suppress(SeitError):
                read = TokenDataset(path)
                every = np.arange(len(read))
                assert read.ids(every).max() < read.vocabulary
                assert read.labels.max() < 2
            file.write_bytes(original)


def test_a_flipped_byte_of_any_file_is_found_and_no_read_crashes(whole):
    path, _, _ = whole
    assert in_child(lambda: flip_bytes(path, lambda size: range(0, size, size // 12 + 1))) == 0


def test_the_damaged_row_is_named(whole):
    path, _, _ = whole
    data = TokenDataset(path)
    file = stores.file_of(path, "train")
    original = file.read_bytes()
    reader = data.reader(data.manifest.shards[0])
    blocks = len(reader.offsets) - 1
    block = blocks // 2
    start = original.index(reader.payload[reader.offsets[block] :].tobytes()[:16])
    flip(file, start + 5)
    (damage,) = verify(path)
    file.write_bytes(original)
    rows = data.manifest.codecs[0].rows_per_block
    assert damage.file == file.name
    assert damage.rows
    assert set(damage.rows) <= set(range(block * rows, (block + 1) * rows))
    assert f"rows {damage.rows[0]}" in str(damage)


def test_random_corruptions_are_all_reported_and_none_crashes_a_reader():
    found = corruptions.run(160, seed=1)
    assert found["reported"] == found["corruptions"] == 160
    assert (found["missed"], found["crashed"]) == (0, 0)
    assert found["read_silently_wrong"] < 8  # equal frequencies may trade places: FORMAT.md 6


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_truncated_and_missing_files_are_found(tmp_path, kept):
    path, _, _ = stores.make(tmp_path / "out")
    for file in sorted(path.iterdir()):
        original = file.read_bytes()
        file.write_bytes(original[: int(kept * len(original))])
        assert verify(path)[0].file == file.name
        file.unlink()
        assert verify(path)[0].file == file.name
        file.write_bytes(original)
    assert verify(path) == []


def test_shards_swapped_between_stores_are_found(tmp_path):
    a, _, _ = stores.make(tmp_path / "a", seed=1)
    b, _, _ = stores.make(tmp_path / "b", seed=2)
    stores.file_of(a, "val").write_bytes(stores.file_of(b, "val").read_bytes())
    assert verify(a)[0].file == stores.file_of(a, "val").name


def test_deep_verification_compares_what_rows_decode_to(tmp_path, monkeypatch):
    path, _, _ = stores.make(tmp_path / "out")
    from seit.codecs.base import Codec

    decode = Codec.decode
    monkeypatch.setattr(
        Codec, "decode", lambda self, *a: decode(self, *a) ^ (np.arange(len(a[2])) == 3)[:, None, None]
    )
    assert verify(path) == []
    assert [damage.rows for damage in verify(path, decode=True)] == [[3], [3]]


def rebuilder(ids, labels, seen):
    """A source that gives the toy store's rows again."""

    def rebuild(split, positions, names):
        seen.append((split, positions.tolist(), names))
        tables = {"train": [stores.table(20, "train/first"), stores.table(20, "train/second")]}
        tables["val"] = [stores.table(12, "val/only")]
        table = stores.RowTable.join(tables[split]).take(positions)
        rows = positions + (40 if split == "val" else 0)
        return Part(split, ids[rows], labels[rows], table)

    return rebuild


@pytest.mark.parametrize("kind", ["data", "side", "codebook"])
@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_repair_restores_any_file_from_the_source(tmp_path, kind, harm):
    path, ids, labels = stores.make(tmp_path / "out")
    entry = TokenDataset(path).manifest.codebook
    name = entry.file if kind == "codebook" else stores.file_of(path, "train", kind=kind).name
    before = TokenDataset(path)
    expected, names, counts = before.tokenizer_ids(np.arange(52)), before.names(np.arange(52)), before.counts
    codebook = np.random.default_rng(9).normal(size=(64, 4)).astype(np.float32)
    if harm == "flip":
        flip(path / name, (path / name).stat().st_size // 2)
    else:
        (path / name).unlink()
    seen = []
    done = repair(path, rebuilder(ids, labels, seen), codebook)
    assert name in [item.file for item in done]
    assert all(item.changed == 0 for item in done)
    assert verify(path, decode=True) == []
    after = TokenDataset(path)
    assert (after.tokenizer_ids(np.arange(52)) == expected).all()
    assert after.names(np.arange(52)) == names
    assert (after.labels == labels).all()
    assert (after.counts == counts).all()
    assert (after.codebook == codebook[after.used_codes]).all()
    assert repair(path, rebuilder(ids, labels, seen), codebook) == []


def test_repair_tokenises_only_the_damaged_rows(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out", grid=(32, 32))
    data = TokenDataset(path)
    file = stores.file_of(path, "val")
    reader = data.reader(data.manifest.shards[1])
    flip(file, file.read_bytes().index(reader.payload[reader.offsets[7] :].tobytes()[:16]) + 9)
    seen = []
    repair(path, rebuilder(ids, labels, seen))
    assert seen == [("val", [7], ["val/only/00007.jpg"])]
    assert (TokenDataset(path).tokenizer_ids(np.arange(52)) == ids).all()


def test_repair_says_which_rows_came_out_differently_and_keeps_new_codes(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out", vocabulary=64)
    w = TokenDataset(path)
    unused = np.setdiff1d(np.arange(64), w.used_codes)
    changed = ids.copy()
    if len(unused):
        changed[45, 0, 0] = unused[0]
    else:
        changed[45, 0, 0] = (ids[45, 0, 0] + 1) % 64
    file = stores.file_of(path, "val")
    file.unlink()
    codebook = np.random.default_rng(9).normal(size=(64, 4)).astype(np.float32)
    done = repair(path, rebuilder(changed, labels, []), codebook)
    assert [item.changed for item in done if item.file == file.name] == [1]
    after = TokenDataset(path)
    assert (after.tokenizer_ids(np.arange(52)) == changed).all()
    assert verify(path, decode=True) == []
    assert (after.counts == np.bincount(after.ids(np.arange(52)).reshape(-1), minlength=after.vocabulary)).all()


def test_another_source_is_refused(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out")
    stores.file_of(path, "val").unlink()
    with pytest.raises(StoreError, match="the source gave other images than were stored"):
        repair(path, lambda s, p, n: Part(s, ids[p], labels[p], stores.table(len(p), "else")))


def test_a_damaged_manifest_cannot_be_repaired(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out")
    flip(path / "manifest.json", 50)
    with pytest.raises(StoreError, match="does not match its own digest"):
        repair(path, rebuilder(ids, labels, []))
