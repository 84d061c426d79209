"""A batch that is split, into parts or over processes, gives the update of the whole batch, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_loop import CODEBOOK, Toy

from seit.augment import Draws, Pipeline
from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.models import build
from seit.training import Recipe, depth, fit

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


def trained(recipe, folder, rows, stop=0):
    """Returns the weights after training a small ViT, and what fit returned; `stop` raises in that evaluation."""
    folder.mkdir(exist_ok=True)
    calls = []

    def evaluate(classifier):
        calls.append(classifier)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return {}

    torch.manual_seed(recipe.seed)
    model = build(recipe.trunk, "conv3", 4, rows.grid, 3, codebook=CODEBOOK, drop_path=recipe.drop_path)
    augment = Pipeline(recipe.augment, rows.grid, model.input_grid, 3, codebook=model.table, view=model.view_grid)
    values = fit(model, augment, rows, recipe, folder, evaluate)
    return {key: value.contiguous().clone() for key, value in model.state_dict().items()}, values


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights that were trained with whole batches."""
    return trained(SMALL, tmp_path_factory.mktemp("whole"), Toy(40))[0]


@pytest.mark.parametrize("part", [4, 10])
def test_accumulated_parts_give_the_weights_of_the_whole_batch(part, whole, tmp_path):
    parts, _ = trained(replace(SMALL, micro_batch=part), tmp_path / "parts", Toy(40))
    start = build(SMALL.trunk, "conv3", 4, (8, 8), 3, codebook=CODEBOOK).state_dict()
    moved = max((whole[key] - start[key]).abs().max() for key in whole)
    apart = max((whole[key] - parts[key]).abs().max() for key in whole)
    assert apart < 1e-4 < 0.05 < moved


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
