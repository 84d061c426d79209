"""Small shards and batches, so that a job of 84 images has a middle."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizing_stores import AS_SHAPES

import seit
from seit.tokenizing import plan


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(plan, "BATCH_PIXELS", 32 * 32 * 8)
    monkeypatch.setattr(plan, "SHARD_ROWS", 16)


@pytest.fixture(scope="session")
def undisturbed(shapes, tmp_path_factory) -> Path:
    """The shapes as one call in threads makes them, in shards of 16 and batches of 8. Read only."""
    out = tmp_path_factory.mktemp("undisturbed") / "shapes.tokens"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BATCH_PIXELS", 32 * 32 * 8)
        patch.setattr(plan, "SHARD_ROWS", 16)
        seit.tokenize(shapes, out, workers=0, **AS_SHAPES)
    return out
