import itertools
from pathlib import Path

import independent_reader
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
    assert [split for split, _, _ in rows] == ["train"] * 20 + ["val"] * 6
    assert (np.array([found for _, found, _ in rows]) == ids).all()
    assert [label for _, _, label in rows] == labels.tolist()


@pytest.mark.parametrize("name", ["v1-context-8x8", "v1-zero-order-32x32"])
def test_that_reader_reads_the_golden_stores(name):
    rows = list(itertools.islice(independent_reader.read(GOLDEN / name), 70))
    with np.load(GOLDEN / f"{name}.expected.npz") as expected:
        assert (np.array([ids for _, ids, _ in rows]) == expected["ids"][:70]).all()
        assert [label for _, _, label in rows] == expected["labels"][:70].tolist()


def test_that_reader_is_short_and_shares_no_code():
    text = (Path(__file__).parent / "independent_reader.py").read_text()
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(code) <= 60
    assert "seit." not in text
    assert "import seit" not in text


def test_stores_of_every_released_version_stay_readable():
    found = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
    assert {"v1-context-8x8", "v1-zero-order-32x32"} <= set(found), (
        "golden stores are kept for ever, never rewritten"
    )
    for name in found:
        with np.load(GOLDEN / f"{name}.expected.npz") as expected:
            data = TokenDataset(GOLDEN / name)
            assert (data.tokenizer_ids(np.arange(len(data))) == expected["ids"]).all()
            assert (data.labels == expected["labels"]).all()
        assert verify(GOLDEN / name, decode=True) == []
