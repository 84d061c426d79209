"""A batch that is split, into parts or over processes, gives the update of the whole batch, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import CODEBOOK, Toy, trained

from seit import ranks
from seit.augment import Draws
from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.loading.loader import share_of
from seit.models import build
from seit.training import Recipe, depth
from seit.training.step import parts_of

SMALL = Recipe(
    trunk="test_vit",
    epochs=3,
    batch_size=12,
    precision="float32",
    warmup_epochs=0.5,
    drop_path=0.3,
    learning_rate=1e-3,
    augment=(ResizedCrop(), CutMix(0.7), Noise(0.5)),
)


def weights_of(recipe, folder, rows, *evaluations):
    """Returns the weights after training a small ViT."""
    model, _ = trained(rows, recipe, folder, *evaluations)
    return {key: value.contiguous().clone() for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights that were trained with whole batches."""
    return weights_of(SMALL, tmp_path_factory.mktemp("whole"), Toy(40))


@pytest.mark.parametrize("part", [4, 10])
def test_accumulated_parts_give_the_weights_of_the_whole_batch(part, whole, tmp_path):
    parts = weights_of(replace(SMALL, micro_batch=part), tmp_path / "parts", Toy(40))
    start = build(SMALL.trunk, "conv3", 4, (8, 8), 3, codebook=CODEBOOK).state_dict()
    moved = max((whole[key] - start[key]).abs().max() for key in whole)
    apart = max((whole[key] - parts[key]).abs().max() for key in whole)
    assert apart < 1e-4 < 0.05 < moved


@pytest.mark.parametrize(
    ("batch_size", "processes", "most"),
    [(1000, 8, 124), (14, 3, 2), (9, 2, 4), (7, 1, 4), (4096, 6, 130), (12, 1, 0)],
)
def test_every_process_has_as_many_parts_of_whole_pairs(batch_size, processes, most, monkeypatch):
    monkeypatch.setattr(ranks, "count", lambda: processes)
    counts, seen = set(), []
    for rank in range(processes):
        positions = share_of(np.arange(batch_size), rank, processes)
        parts = list(parts_of(len(positions), batch_size, most))
        counts.add(len(parts))
        assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]
        for part, _ in parts:
            rows = positions[part]
            seen += rows.tolist()
            even = rows[: len(rows) // 2 * 2].reshape(-1, 2)
            assert (even[:, 0] % 2 == 0).all()
            assert (even[:, 1] == even[:, 0] + 1).all()
            assert 0 < len(rows) <= (max(most, 4 if most == 2 else 0) or batch_size)
    assert len(counts) == 1
    assert sorted(seen) == list(range(batch_size))


def test_stochastic_depth_belongs_to_the_row_and_keeps_the_mean():
    model = build("test_vit", "conv3", 4, (8, 8), 3, codebook=CODEBOOK, drop_path=0.4)
    layers = depth.by_row(model)
    assert [round(layer.rate, 3) for layer in layers][-1] == 0.4
    positions = torch.arange(4000)
    depth.draw(layers, Draws(0, 0, positions, batch=4000))
    whole = [layer.scale for layer in layers]
    assert whole[-1].mean() == pytest.approx(1, abs=0.05)
    assert (whole[-1] == 0).float().mean() == pytest.approx(0.4, abs=0.03)
    assert not torch.equal(whole[-1], whole[-2])
    depth.draw(layers, Draws(0, 0, positions[100:200], batch=4000))
    assert all(torch.equal(layer.scale, of[100:200]) for layer, of in zip(layers, whole, strict=True))
    # The last layer alone: its branch is left out where the scale is 0.
    layers[-1].train()
    branch = torch.ones(100, 5, 7)
    assert torch.equal(layers[-1](branch)[:, 0, 0], layers[-1].scale)
    assert torch.equal(layers[-1].eval()(branch), branch)
