import itertools
from pathlib import Path

import golden_stores
import independent_reader
import independent_writer
import numpy as np
import pytest
import stores

from seit.store import TokenDataset
from seit.store.verify import verify

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("codec", ["zero-order", "context"])
@pytest.mark.parametrize(("grid", "vocabulary"), [((8, 8), 300), ((16, 16), 64), ((3, 7), 2), ((2, 2), 70_000)])
def test_a_reader_written_from_the_page_alone_reads_a_store(tmp_path, codec, grid, vocabulary):
    path, ids, labels = stores.make(tmp_path / "out", 20, 6, grid=grid, vocabulary=vocabulary, codec=codec)
    rows = list(independent_reader.read(path))
    assert [row[0] for row in rows] == ["train"] * 20 + ["val"] * 6
    assert (np.array([row[1] for row in rows]) == ids).all()
    assert [row[2] for row in rows] == labels.tolist()
    assert [row[3] for row in rows] == TokenDataset(path).names(range(26))


@pytest.mark.parametrize("grid", [(8, 8), (24, 24)])
@pytest.mark.parametrize("kind", ["multi", "soft", "none"])
def test_that_reader_reads_every_kind_of_labels_and_views(tmp_path, kind, grid):
    rng = np.random.default_rng(3)
    weights = (rng.random((12, 3)) * (rng.random((12, 3)) < 0.5)).astype(np.float32)
    labels = {"multi": weights > 0, "soft": weights, "none": None}[kind]
    w = stores.writer(tmp_path / "out", grid, classes=("a", "b", "c"), views=2)
    w.write(0, "train", stores.random_ids(12, grid), labels, stores.table(12))
    rows = list(independent_reader.read(w.commit()))
    assert (np.array([row[1] for row in rows]) == stores.random_ids(12, grid)).all()
    if labels is None:
        assert {row[2] for row in rows} == {None}
    else:
        expected = [[(c, float(x)) for c, x in enumerate(row) if x] for row in labels.tolist()]
        assert [row[2] for row in rows] == expected


@pytest.mark.parametrize("shape", [(24,), (3, 4, 4)])
def test_ids_of_one_axis_and_several_ids_a_cell_need_no_other_format(tmp_path, shape):
    ids = np.random.default_rng(0).integers(0, 30, (10, *shape))
    w = stores.writer(tmp_path / "out", shape, vocabulary=30)
    w.write(0, "train", ids, np.zeros(10, int), stores.table(10))
    path = w.commit()
    data = TokenDataset(path)
    assert data.shape == shape
    assert (data.tokenizer_ids(range(10)).reshape(ids.shape) == ids).all()
    assert (np.array([row[1] for row in independent_reader.read(path)]) == ids).all()
    assert verify(path, decode=True) == []


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("grid", "vocabulary"), [((8, 8), 300), ((24, 24), 64), ((2, 2), 70_000)])
def test_a_store_by_a_writer_written_from_the_page_alone_is_whole(tmp_path, grid, vocabulary, labelled):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, vocabulary, (26, *grid)) ** 2 // vocabulary
    labels = rng.integers(0, 3, 26) if labelled else None
    names = [f"{i}.jpg" for i in range(26)]
    cut = {"train": slice(0, 20), "val": slice(20, 26)}
    splits = {s: (codes[c], None if labels is None else labels[c], names[c]) for s, c in cut.items()}
    classes = ["a", "b", "c"] if labelled else []
    per_block = 7 if grid[0] < 10 else 1
    independent_writer.write(tmp_path / "out", splits, stores.TOKENIZER, vocabulary, classes, per_block)
    assert verify(tmp_path / "out", decode=True) == []
    data = TokenDataset(tmp_path / "out")
    assert (data.tokenizer_ids(range(26)) == codes).all()
    assert data.names(range(26)) == names
    if labels is not None:
        assert (data.labels == labels).all()


def test_those_two_are_short_and_share_no_code():
    for name, limit in (("independent_reader.py", 80), ("independent_writer.py", 110)):
        text = (Path(__file__).parent / name).read_text()
        code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
        assert len(code) <= limit
        assert "seit." not in text
        assert "import seit" not in text


@pytest.mark.parametrize("name", golden_stores.NAMES)
def test_stores_of_every_released_version_stay_readable(name):
    with np.load(GOLDEN / f"{name}.expected.npz") as expected:
        data = TokenDataset(GOLDEN / name)
        assert (data.tokenizer_ids(np.arange(len(data))).reshape(expected["ids"].shape) == expected["ids"]).all()
        if "labels" in expected:
            assert (data.labels == expected["labels"]).all()
        rows = list(itertools.islice(independent_reader.read(GOLDEN / name), 40))
        assert (np.array([row[1] for row in rows]) == expected["ids"][: len(rows)]).all()
    assert verify(GOLDEN / name, decode=True) == []


def test_the_page_shows_the_manifest_of_the_example():
    assert (GOLDEN / "v1-example" / "manifest.json").read_text() in (GOLDEN.parents[2] / "FORMAT.md").read_text()


def test_no_golden_store_is_missing():
    """They are kept for ever, never rewritten."""
    assert sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()) == sorted(golden_stores.NAMES)
