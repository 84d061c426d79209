"""Every recipe that lies in the package makes one real step of its real model, on two rows of its kind of data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seit import recipes
from seit.images import open_source
from seit.run import Run
from seit.store import RowTable, TokenDataset, TokenWriter
from seit.tokenizers import load as load_tokenizer
from seit.training import fit
from seit.training.setup import assemble

CLASSES = {"token-in21k": 21841}
SMALL = {"mini", "mini-pixels", "mini-pretrain", "mini-finetune", "mini-pixels-finetune", "mini-transfer"}


def ids_of(folder, grid, classes):
    """Two rows of ids with the codebook of a bundled tokenizer."""
    tokenizer = load_tokenizer("patch8")
    names = [f"c{i}" for i in range(classes)]
    out = folder / "two.tokens"
    codebook = tokenizer.codebook.numpy()
    writer = TokenWriter(
        out,
        tokenizer={
            "name": "patch8",
            "identity": tokenizer.identity(),
            "preprocessing": {"size": 8 * grid, "resize": "squash", "interpolation": "bicubic"},
        },
        codebook=codebook,
        grid=(grid, grid),
        classes=names,
        source={"name": "random"},
        plan="two rows",
        codec="zero-order",
    )
    ids = np.random.default_rng(0).integers(0, len(codebook), (2, grid, grid))
    writer.write(0, "train", ids, np.array([0, classes - 1]), RowTable.named(["a", "b"]))
    writer.commit()
    return TokenDataset(out, "train")


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_makes_one_step_of_its_real_model(name, shapes, tmp_path):
    recipe = recipes.load(name)
    classes = CLASSES.get(name, 1000)
    if recipe.input == "pixels":
        opened, encoder = open_source(shapes), None
    else:
        opened = ids_of(tmp_path, 16 if name in SMALL else 32, classes)
        encoder = load_tokenizer("patch8")
    # One batch of two rows; nothing that makes the network or the rows differs from the recipe's.
    steps = {"epochs": 1 / (opened.splits["train"] // 2), "warmup_epochs": 0, "batch_size": 2, "repeats": 1}
    made = assemble(replace(recipe, **steps), opened, encoder)
    model = made.training.model
    before = model.trunk.get_classifier().weight.detach().clone()
    fit(replace(made.training, evaluations=()), Run(tmp_path))
    (line,) = Run(tmp_path).lines()
    assert 0 < line["loss"] < 2 * np.log(classes)
    moved = (model.trunk.get_classifier().weight - before).abs().max()
    assert 0 < moved < 0.5
    assert all(step.name in made.augment for step in recipe.augment if not step.off)
