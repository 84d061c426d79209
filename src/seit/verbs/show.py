"""`seit show`: originals beside what their ids decode to, or the augmentations as they look."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seit import recipes
from seit.device import resolve
from seit.errors import ImageError, StoreError
from seit.images import decode, source_hash, view_of
from seit.report.pictures import Tile
from seit.report.sheets import write_sheet
from seit.store import TokenDataset
from seit.store.remote import is_url
from seit.tokenizers.base import Tokenizer
from seit.tokenizing.again import reopened
from seit.training import Recipe
from seit.verbs.augmented import draw_augmented
from seit.verbs.tokenize import tokenizer_of


def show(
    tokens: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    rows: int | None = None,
    seed: int = 0,
    augment: bool = False,
    recipe: str | Recipe = "token-in1k",
    settings: Mapping[str, str] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Draws rows of a token data set as a PNG sheet: decoded, and beside their originals where these are at hand.

    Args:
        tokens: the token data set.
        out: the PNG file; TOKENS.png by default, of a URL its last part.
        source: the images it was made from, where they have moved.
        tokenizer: its tokenizer, where that is not a bundled one.
        rows: how many, drawn from all rows; 12 by default, 4 with `augment`.
        seed: of the draw, and of the augmentations.
        augment: draw each augmentation of a recipe instead, decoded before and after.
        recipe: its name, or the recipe; the paper's by default.
        settings: fields of it to change, as text, e.g. {"noise.std": "0.1"}.
        device: auto, cpu, cuda or mps.

    Returns:
        out, rows (their names), originals (whether they are drawn), changed (names of images that are no longer
        what they were, drawn blank); with `augment` see `draw_augmented`.

    Raises:
        StoreError: no token data set, another tokenizer than it was made with, or `source` lacks its images or
            is given with `augment`.
        RecipeError: unknown recipe or setting, or an augmentation that is not for ids.
    """
    place = os.fspath(tokens).rstrip("/")
    target = Path(out if out is not None else f"{os.path.basename(place) if is_url(place) else place}.png")
    if target.suffix != ".png":
        raise StoreError("is not a .png", str(target), "name it so")
    if augment and source is not None:
        raise StoreError("originals are not drawn beside augmentations", str(source), "leave out source or augment")
    chosen = (recipes.load(recipe) if isinstance(recipe, str) else recipe).with_settings(settings or {})
    dataset = TokenDataset(tokens)
    decoder = tokenizer_of(dataset, tokenizer)
    decoder.to(resolve(device))
    drawn = np.random.default_rng(seed).permutation(len(dataset))[: rows or (4 if augment else 12)]
    drawn.sort()
    if augment:
        return draw_augmented(dataset, decoder, drawn, target, chosen, seed)
    decoded = decode_rows(dataset, decoder, drawn)
    names = dataset.names(drawn)
    originals, changed = _originals(dataset, source, drawn, decoded)
    both = len(originals) == len(names)
    if source is not None and (not both or len({*changed}) == len({*names})):
        raise StoreError(f"was not made from {source}", os.fspath(tokens), "give the images that it was made from")
    tiles = []
    for row, (name, picture) in enumerate(zip(names, decoded, strict=True)):
        caption = f"{name} (has changed)" if name in changed else name
        tiles.append(Tile((originals[row], picture) if both else (picture,), (caption,)))
    target.parent.mkdir(parents=True, exist_ok=True)
    title = f"{Path(tokens).name}: {decoder.name}, {dataset.grid[0]} x {dataset.grid[1]} ids"
    write_sheet(target, tiles, title, ("original", "decoded") if both else ("decoded",), across=3 if both else 6)
    return {"out": str(target), "rows": names, "originals": both, "changed": changed}


@torch.inference_mode()
def decode_rows(dataset: TokenDataset, decoder: Tokenizer, rows: np.ndarray) -> list[np.ndarray]:
    """Returns the pictures uint8 [H, W, C] that rows of a data set decode to."""
    codes = torch.from_numpy(dataset.used_codes[dataset.ids(rows)].astype(np.int64))
    images = decoder.decode(codes.to(decoder.codebook.device))
    return list((images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())


def _originals(
    dataset: TokenDataset, source: str | os.PathLike[str] | None, rows: np.ndarray, decoded: list[np.ndarray]
) -> tuple[list[np.ndarray], list[str]]:
    """Returns the views uint8 [H, W, C] that rows were made from, fewer if some are not at hand.

    An image that is no longer what it was is blank, and its name is returned, too.
    """
    try:
        images = reopened(dataset.manifest.source, source)
    except ImageError:
        if source is not None:
            raise
        return [], []
    places = {name: place for place, name in enumerate(images.names)}
    table, preprocessing = dataset.rows_at(rows), dataset.tokenizer["preprocessing"]
    originals, changed = list[np.ndarray](), list[str]()
    for row, name in enumerate(table.name):
        if name not in places:
            continue
        box = None if table.crop is None else tuple(table.crop[row].tolist())
        try:
            data = images[places[name]].read()
            if table.source_hash[row] not in (0, source_hash(data)):  # 0: not recorded
                raise ImageError("has changed", name)
            view = view_of(decode(data, name, preprocessing.get("channels", 3)), preprocessing, box)
        except ImageError:
            changed.append(name)
            view = np.full_like(decoded[row], 200)
        originals.append(view[:, ::-1] if table.flip is not None and table.flip[row] else view)
    return originals, changed
