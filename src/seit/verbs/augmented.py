"""What each augmentation does to pictures, seen through the tokenizer's decoder (paper, Fig. 3, A.1 and A.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seit.augment import Crop, Draws, Lookup, OnIds, OnVectors, Pipeline, Setting
from seit.augment.noise import Noise
from seit.augment.resize import resize
from seit.augment.resized_crop import ResizedCrop
from seit.errors import StoreError
from seit.models.stems import stem_of, token_stem
from seit.report.pictures import Tile
from seit.report.sheets import write_sheet
from seit.store import TokenDataset
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.mirror import mirror_table
from seit.training import Recipe

CHANNELS = 32
"""Most channels that are changed one by one; the paper's codes have as many."""


@torch.inference_mode()
def draw_augmented(
    dataset: TokenDataset, decoder: Tokenizer, rows: np.ndarray, out: Path, recipe: Recipe, seed: int = 0
) -> dict[str, Any]:
    """Draws rows before and after each augmentation of a recipe as a PNG sheet.

    One row of the sheet is one augmentation by itself, on the whole grid; what training gives to some rows only is
    given to every row here, so that it is seen. Then the recipe as it trains. At the end the first picture with the
    codebook's root mean square entry added to one channel of its vectors after another.

    Args:
        dataset: the token data set.
        decoder: its tokenizer.
        rows: which rows; CutMix mixes the first with the second, the third with the fourth.
        out: the PNG file.
        recipe: the one whose augmentations are drawn.
        seed: of the augmentations.

    Returns:
        out, rows (their names), pipeline (the recipe's, as it prints itself).

    Raises:
        StoreError: the data set has no codebook.
        RecipeError: an augmentation that is not for ids.
    """
    if dataset.codebook is None:
        raise StoreError("has no codebook", dataset.path, "tokenize the images again")
    names = dataset.names(rows)
    ids = torch.from_numpy(dataset.ids(rows).astype(np.int64))
    table = torch.from_numpy(np.array(dataset.codebook))

    def mirror() -> Tensor:
        return mirror_table(decoder, dataset.ids(rows), torch.from_numpy(dataset.used_codes).long())

    augment = _recipe_pipeline(recipe, table, dataset.grid, mirror)
    draws = Draws(seed, 0, torch.arange(len(rows)), len(rows))
    before = _decoded(decoder, _lookup(ids, table))
    tiles = []
    for what, said, vectors in _steps(augment, ids, table, draws, names):
        pictures = _decoded(decoder, _whole_grid(vectors, dataset.grid))
        for shown, line, name, picture in zip(before, said, names, pictures, strict=True):
            tiles.append(Tile((shown, picture), (what, f"{name}: {line}")))
    unit, spread = float(table.square().mean().sqrt()), table.std(0)
    for channel, picture in enumerate(_decoded(decoder, _shifted(ids[:1], table, unit))):
        what = f"{unit:.3g} added to channel {channel} of {table.shape[1]}, whose spread is {spread[channel]:.3g}"
        tiles.append(Tile((before[0], picture), (what, names[0])))
    title = f"{Path(dataset.path).name}: augmentations seen through {decoder.name}"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_sheet(out, tiles, title, ("decoded", "augmented and decoded"), across=len(rows))
    return {"out": str(out), "rows": names, "pipeline": str(augment)}


def _recipe_pipeline(
    recipe: Recipe, table: Tensor, grid: tuple[int, int], mirror: Callable[[], Tensor] | None = None
) -> Pipeline:
    """Returns the recipe's pipeline for ids of this grid."""
    stem = stem_of(token_stem(min(grid)) if recipe.stem == "auto" else recipe.stem)
    size = (stem.input_side(grid[0]), stem.input_side(grid[1]))
    return Pipeline(recipe.augment, grid, size, 1000, codebook=table, mirror=mirror, smoothing=recipe.smoothing)


def _steps(
    augment: Pipeline, ids: Tensor, table: Tensor, draws: Draws, names: list[str]
) -> Iterator[tuple[str, list[str], Tensor]]:
    """Yields each augmentation by itself, then all: its name, what it did to each row, vectors [B, d, m, m]."""
    setting, vectors, labels = augment.setting, _lookup(ids, table), torch.arange(len(ids))
    for step in augment.steps:
        what, every = step.text(setting), step.in_every_row()
        if every != step:
            what += ", here in every row"
        if isinstance(step, Noise):
            yield from _noises(step, what, vectors, table, draws, setting)
        elif isinstance(every, OnIds):
            changed = every(ids, draws, setting)
            counts = (changed != ids).flatten(1).sum(1).tolist()
            said = [f"{count} of {ids[0].numel()} ids changed" for count in counts]
            yield what, said, _lookup(changed, table)
        elif isinstance(every, Crop):
            yield what, _boxes(every, ids, draws), every(ids, table, draws, setting)
        elif isinstance(every, Lookup):
            yield what, ["each vector as its nearest code"] * len(ids), every(vectors, table, draws, setting)
        elif isinstance(every, OnVectors):
            mixed, targets = every(vectors.clone(), torch.eye(len(ids)), draws, setting)
            yield what, _shares(targets, names), mixed
    # Every row its own class and no smoothing: the mixed targets then say how much of whom a row holds.
    everything = Pipeline(
        augment.steps,
        setting.grid,
        setting.size,
        len(ids),
        codebook=table,
        mirror=setting.mirror,
        view=setting.view,
        smoothing=0,
    )
    vectors, targets = everything(ids, labels, table, draws)
    yield "all together, each as often as in training", _shares(targets, names), vectors


def _noises(
    noise: Noise, what: str, vectors: Tensor, table: Tensor, draws: Draws, setting: Setting
) -> Iterator[tuple[str, list[str], Tensor]]:
    """Yields the two noises apart, as the paper's Fig. A.1 has them."""
    channel, full = noise.numbers(draws, tuple(vectors.shape[1:]))
    size = noise.size(setting)
    low, high = table.std(0).aminmax()
    said = [f"{size:.3g} where the channels spread by {low:.3g} to {high:.3g}"] * len(vectors)
    yield f"channel-wise part of {what}", said, vectors + size * channel[:, :, None, None]
    yield f"full-size part of {what}", said, vectors + size * full.movedim(-1, 1)


def _boxes(crop: Crop, ids: Tensor, draws: Draws) -> list[str]:
    """Says of each row what is cut from it."""
    if not isinstance(crop, ResizedCrop):
        return ["cropped"] * len(ids)
    boxes = crop.boxes(draws, (ids.shape[1], ids.shape[2])).tolist()
    return [f"{box[2]} x {box[3]} cells from row {box[0]}, column {box[1]}" for box in boxes]


def _shares(targets: Tensor, names: list[str]) -> list[str]:
    """Says of each row how much of which picture it holds."""
    rows = []
    for row in targets.tolist():
        held = sorted(((share, name) for share, name in zip(row, names, strict=True) if share > 0), reverse=True)
        rows.append(" and ".join(f"{100 * share:.0f}% {name}" for share, name in held))
    return rows


def _lookup(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids].movedim(-1, 1)


def _shifted(ids: Tensor, table: Tensor, constant: float) -> Tensor:
    """Returns vectors [channels, d, h, w] of ids [1, h, w], each with a constant in one channel (Fig. A.2)."""
    channels = min(table.shape[1], CHANNELS)
    vectors = _lookup(ids, table).repeat(channels, 1, 1, 1)
    each = torch.arange(channels)
    vectors[each, each] += constant
    return vectors


def _whole_grid(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns vectors [B, d, m, m] resized back to the grid, because many decoders take no other."""
    size = (vectors.shape[2], vectors.shape[3])
    if size == grid:
        return vectors
    boxes = torch.tensor([[0, 0, *size]]).expand(len(vectors), -1)
    return resize(vectors.movedim(1, -1), boxes, grid)


def _decoded(decoder: Tokenizer, vectors: Tensor) -> list[np.ndarray]:
    """Returns the picture uint8 [H, W, 3] that each row's vectors decode to."""
    device = decoder.codebook.device
    # One by one: 32 pictures at once would take a large decoder's activations beyond a laptop's memory.
    images = (decoder.decode_vectors(row[None].to(device))[0].clamp(0, 1) for row in vectors)
    return [(image * 255).round().byte().permute(1, 2, 0).cpu().numpy() for image in images]
