"""New images that keep to another data set's codes: recorded, and the same after a repair."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tokenizing_stores import AS_SHAPES

import seit
from seit.errors import StoreError, TokenizerError
from seit.store import TokenDataset
from seit.store.codebook import from_ranges


def tokenizer_ids(path):
    """All ids of the training rows in the tokenizer's own numbers."""
    data = TokenDataset(path, "train")
    return data.tokenizer_ids(np.arange(len(data)))


@pytest.fixture(scope="module")
def few(shapes, tmp_path_factory):
    """A data set of two images, which lacks codes that the others use. Read only."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("00.jpg", "02.jpg"):
        (folder / "images" / "train" / "circle").mkdir(parents=True, exist_ok=True)
        shutil.copy(shapes / "train" / "circle" / name, folder / "images" / "train" / "circle" / name)
    seit.tokenize(folder / "images", folder / "few.tokens", **AS_SHAPES)
    return folder / "few.tokens"


@pytest.mark.parametrize("way", ["search", "nearest"])
def test_ids_keep_within_the_codes_and_differ_only_where_they_must(way, shapes, few, undisturbed, tmp_path):
    out = tmp_path / "kept"
    seit.tokenize(shapes, out, within=few, within_by=way, workers=0, **AS_SHAPES)
    kept = TokenDataset(few).used_codes
    found, free = tokenizer_ids(out), tokenizer_ids(undisturbed)
    inside = np.isin(free, kept)
    assert 0 < inside.mean() < 1
    assert np.isin(found, kept).all()
    assert np.array_equal(found[inside], free[inside])
    recorded = json.loads((out / "manifest.json").read_text())["tokenizer"]["within"]
    assert recorded["way"] == way
    assert np.array_equal(from_ranges(recorded["codes"], 512), kept)
    next(path for path in out.glob("train-*.arrow") if ".rows." not in path.name).unlink()
    assert sum(one["changed"] for one in seit.repair(out)["repaired"]) <= 2  # a near tie in another batch
    assert np.isin(tokenizer_ids(out), kept).all()


def test_codes_of_another_tokenizer_and_unknown_ways_are_refused(shapes, few, tmp_path):
    with pytest.raises(StoreError, match="give its tokenizer, size and resize"):
        seit.tokenize(shapes, tmp_path / "out", within=few, tokenizer="patch4", size=64)
    with pytest.raises(TokenizerError, match=r"known: .*nearest"):
        seit.tokenize(shapes, tmp_path / "out", within=few, within_by="nearst", **AS_SHAPES)
    assert not (tmp_path / "out").exists()
