import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import stores

import seit
from seit.errors import CodecError, SeitError, StoreError
from seit.store import TokenDataset
from seit.store.official import export_official, import_official, synonyms

GOLDEN = Path(__file__).parents[1] / "golden" / "seit-official"


def official_reader(data, index, image):
    """The official reader's walk over one image's bytes, written from its description."""
    ids, pending = [], 0
    for byte in data[index[image] : index[image + 1]]:
        if byte == 255:
            pending = 255
        else:
            ids.append(byte + pending)
            pending = 0
    if len(ids) != 1024:
        raise ValueError(len(ids))
    return ids


def golden_ids(seedword, images, vocabulary):
    """The golden sets' ids by their rule (golden/README.md)."""
    key = int.from_bytes(hashlib.sha256(f"{seedword}:tokens".encode()).digest()[:8], "little")
    raw = np.random.Philox(key=key).random_raw(images * 1024)
    u = (raw >> np.uint64(40)).astype(np.float64) * 2.0**-24
    ids = np.floor(u * u * vocabulary).astype(np.int64).reshape(images, 1024)
    ids[0, :8] = [0, 254, 255, 256, 390, 255, 255, 254]
    ids[1, -1] = 255
    ids[2, -2:] = [254, 255]
    ids[3], ids[4] = vocabulary - 1, 0
    return ids


@pytest.mark.parametrize(
    ("prefix", "seedword", "vocabulary"), [("imagenet1k-val-", "open", 391), ("vocab510-", "open510", 510)]
)
def test_the_golden_release_round_trips_byte_for_byte(tmp_path, prefix, seedword, vocabulary):
    expected = json.loads((GOLDEN / "expected.json").read_text())["sets"][prefix]
    classes = [f"class {i}" for i in range(1000)]
    source = GOLDEN / f"{prefix}token.data.bin.gz"
    out = import_official(
        {"val": source}, tmp_path / "out", classes=classes, vocabulary=vocabulary, codec="zero-order"
    )
    data = TokenDataset(out, "val")
    ids = data.tokenizer_ids(np.arange(len(data))).reshape(len(data), -1)
    assert (ids == golden_ids(seedword, expected["images"], vocabulary)).all()
    assert hashlib.sha256(ids.astype("<i2").tobytes()).hexdigest() == expected["ids_sha256_int16le"]
    assert data.labels.tolist() == [int(x) for x in (GOLDEN / f"{prefix}label.txt").read_text().split()]
    name = prefix.rstrip("-")
    export_official(data, tmp_path, name)
    written = gzip.decompress((tmp_path / f"{name}-token.data.bin.gz").read_bytes())
    index = gzip.decompress((tmp_path / f"{name}-token.index.npy.gz").read_bytes())
    assert hashlib.sha256(written).hexdigest() == expected["data_sha256"]
    assert hashlib.sha256(index).hexdigest() == expected["index_npy_sha256"]
    assert (tmp_path / f"{name}-label.txt").read_bytes() == (GOLDEN / f"{prefix}label.txt").read_bytes()


def test_the_official_reader_reads_what_we_export(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out", 6, 3, grid=(32, 32), vocabulary=400, codec="zero-order")
    data = TokenDataset(path, "train")
    export_official(data, tmp_path / "official", "imagenet1k-train", data)
    raw = gzip.decompress((tmp_path / "official/imagenet1k-train-token.data.bin.gz").read_bytes())
    with gzip.open(tmp_path / "official/imagenet1k-train-token.index.npy.gz") as file:
        index = np.load(file)
    found = np.array([official_reader(raw, index, i) for i in range(6)])
    counts = np.bincount(found.reshape(-1))
    assert (np.diff(counts) <= 0).all(), "most frequent first"
    codebook = np.load(tmp_path / "official/codebook.npy")
    full = np.random.default_rng(9).normal(size=(400, 4)).astype(np.float32)
    assert (codebook[found] == full[ids[:6].reshape(6, -1)]).all()
    near = json.loads((tmp_path / "official/synonyms.json").read_text())
    assert sorted(near, key=int) == [str(i) for i in range(data.vocabulary)]
    assert (tmp_path / "official/imagenet1k-train-label.txt").read_text().split() == [str(x) for x in labels[:6]]


@pytest.mark.parametrize("head", [[255, 255, 7], [255]])
def test_bytes_that_readers_take_differently_are_refused(tmp_path, head):
    data = bytes([*head, *[1] * 1023]) if len(head) == 3 else bytes([*[1] * 1024, 255])
    index = io.BytesIO()
    np.save(index, np.array([0, len(data)]))
    (tmp_path / "x-token.data.bin.gz").write_bytes(gzip.compress(data))
    (tmp_path / "x-token.index.npy.gz").write_bytes(gzip.compress(index.getvalue()))
    (tmp_path / "x-label.txt").write_text("0\n")
    with pytest.raises(SeitError, match=r"two marks in a row|expected 1024"):
        import_official({"val": tmp_path / "x-token.data.bin.gz"}, tmp_path / "out", classes=["a"], vocabulary=510)


def test_what_the_official_reader_cannot_hold_is_refused_with_the_reason(tmp_path):
    wide, _, _ = stores.make(tmp_path / "wide", grid=(32, 32), vocabulary=600, codec="zero-order")
    with pytest.raises(CodecError, match="takes the last of several marks alone, so ids end at 509"):
        export_official(TokenDataset(wide), tmp_path, "x")
    small, _, _ = stores.make(tmp_path / "small")
    with pytest.raises(CodecError, match="takes 32 x 32 ids"):
        export_official(TokenDataset(small), tmp_path, "x")


@pytest.mark.parametrize("harm", ["truncate", "labels", "index"])
def test_damaged_official_files_are_refused(tmp_path, harm):
    for file in GOLDEN.glob("vocab510*"):
        shutil.copyfile(file, tmp_path / file.name)
    data = tmp_path / "vocab510-token.data.bin.gz"
    if harm == "truncate":
        data.write_bytes(data.read_bytes()[:2000])
    elif harm == "labels":
        (tmp_path / "vocab510-label.txt").write_text("1\n2\n")
    else:
        (tmp_path / "vocab510-token.index.npy.gz").write_bytes(b"no gzip")
    with pytest.raises(StoreError, match="fetch it again"):
        import_official(
            {"val": data}, tmp_path / "out", classes=[f"class {i}" for i in range(1000)], vocabulary=510
        )


def release(folder, ids, labels):
    """Writes one set of the release, byte by byte."""
    folder.mkdir()
    symbols = [
        b"".join(bytes([255] * (i // 255) + [i % 255]) for i in row) for row in ids.reshape(len(ids), -1).tolist()
    ]
    index = io.BytesIO()
    np.save(index, np.cumsum([0, *map(len, symbols)]))
    (folder / "x-token.data.bin.gz").write_bytes(gzip.compress(b"".join(symbols)))
    (folder / "x-token.index.npy.gz").write_bytes(gzip.compress(index.getvalue()))
    (folder / "x-label.txt").write_text("".join(f"{label}\n" for label in labels))
    return folder / "x-token.data.bin.gz"


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("x-token.data.bin.gz", lambda data: data[:40] + bytes(200) + data[240:], "data.bin.gz: cannot be read"),
        ("x-token.data.bin.gz", lambda data: gzip.compress(gzip.decompress(data) + b"x"), "goes on after the last"),
        ("x-token.index.npy.gz", lambda data: data[:30] + bytes(20) + data[50:], "index.npy.gz: cannot be read"),
        ("x-token.index.npy.gz", lambda data: gzip.compress(b"no array"), "index.npy.gz: cannot be read"),
        ("x-label.txt", lambda data: data.replace(b"1", b"one"), "label.txt: cannot be read"),
        ("x-label.txt", lambda data: data + b"1\n", "5 labels for 4 images"),
        ("x-label.txt", lambda data: data.replace(b"1", b"7"), "labels run from 0 to 7 with 2 classes"),
    ],
)
def test_whatever_is_wrong_with_a_release_is_said_in_one_line(tmp_path, file, harm, message):
    data = release(tmp_path / "in", np.random.default_rng(0).integers(0, 300, (4, 32, 32)), [0, 1, 0, 1])
    path = tmp_path / "in" / file
    path.write_bytes(harm(path.read_bytes() if path.exists() else b""))
    with pytest.raises(StoreError, match=message):
        import_official({"train": data}, tmp_path / "out", classes=["a", "b"], vocabulary=510)
    assert not (tmp_path / "out").exists()


def test_a_codebook_that_is_none_is_refused(tmp_path):
    release(tmp_path / "in", np.zeros((1, 32, 32), int), [0])
    (tmp_path / "in" / "codebook.ckpt").write_bytes(b"no tensor")
    with pytest.raises(StoreError, match=r"codebook.ckpt: cannot be read"):
        seit.convert(tmp_path / "in", tmp_path / "out")


def test_synonyms_are_the_nearest_by_plain_distance():
    codebook = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    found = synonyms(codebook)
    for code in range(40):
        distance = np.linalg.norm(codebook - codebook[code], axis=1)
        assert found[str(code)] == [i for i in np.argsort(distance).tolist() if i != code][:5]


def test_convert_reads_the_golden_release_and_writes_it_again(tmp_path):
    seit.convert(GOLDEN, tmp_path / "tokens", codec="zero-order")
    data = {split: TokenDataset(tmp_path / "tokens", split) for split in ("val", "vocab510")}
    for split, seedword, vocabulary in (("val", "open", 391), ("vocab510", "open510", 510)):
        ids = data[split].tokenizer_ids(np.arange(len(data[split]))).reshape(-1, 1024)
        assert (ids == golden_ids(seedword, len(ids), vocabulary)).all()


def test_an_export_comes_back_with_the_same_vectors_labels_and_splits(tmp_path):
    path, ids, labels = stores.make(tmp_path / "out", 6, 3, grid=(32, 32), vocabulary=400, codec="zero-order")
    seit.convert(path, tmp_path / "official", to="official")
    torch = pytest.importorskip("torch", reason="the release keeps its codebook in torch's format")
    stored = torch.load(tmp_path / "official/codebook.ckpt", weights_only=True)
    assert (stored.numpy() == np.load(tmp_path / "official/codebook.npy")).all()
    seit.convert(tmp_path / "official", tmp_path / "again", codec="zero-order")
    again = TokenDataset(tmp_path / "again")
    full = np.random.default_rng(9).normal(size=(400, 4)).astype(np.float32)
    assert again.splits == {"train": 6, "val": 3}
    assert (again.codebook[again.ids(np.arange(9))] == full[ids]).all()
    assert (again.labels == labels).all()


def test_all_splits_of_an_export_share_one_numbering(tmp_path):
    path, ids, _ = stores.make(tmp_path / "out", 6, 3, grid=(32, 32), vocabulary=400, codec="zero-order")
    seit.convert(path, tmp_path / "official", to="official")
    codebook = np.load(tmp_path / "official/codebook.npy")
    full = np.random.default_rng(9).normal(size=(400, 4)).astype(np.float32)
    for split, wanted in (("train", ids[:6]), ("val", ids[6:])):
        raw = gzip.decompress((tmp_path / f"official/imagenet1k-{split}-token.data.bin.gz").read_bytes())
        with gzip.open(tmp_path / f"official/imagenet1k-{split}-token.index.npy.gz") as file:
            index = np.load(file)
        found = np.array([official_reader(raw, index, i) for i in range(len(wanted))])
        assert (codebook[found] == full[wanted.reshape(len(wanted), -1)]).all(), split
