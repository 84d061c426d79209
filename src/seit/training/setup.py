"""Puts together what a recipe trains on some data: the one place where data, augmentations, model and loop meet."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seit import ranks
from seit.augment import Augmentation, Pipeline
from seit.augment.from_file import from_file
from seit.errors import RunError
from seit.evaluation import Accuracy, MeanPrecision
from seit.evaluation.base import OfClasses
from seit.images import Source, open_source
from seit.images.account import Account
from seit.images.sources import EMBEDDED
from seit.loading import Resident, RowFeed
from seit.loading.drawn import DrawnPixels
from seit.loading.labelled import labelled
from seit.loading.pixels import PixelRows
from seit.loading.rows import Rows
from seit.models import Classifier, build
from seit.models.start import start_from
from seit.models.stems import token_stem
from seit.objectives import Classify
from seit.store import TokenDataset, TokenRows
from seit.store.describe import ledger
from seit.store.manifest import NAME as MANIFEST
from seit.store.manifest import to_bytes
from seit.store.row_sequence import hashed
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.mirror import mirror_table
from seit.training.loop import Training
from seit.training.recipe import Recipe

_RESIDENT_BYTES = 4 << 30
Data = Source | TokenDataset


def open_data(data: str | os.PathLike[str], recipe: Recipe, account: Account | None = None) -> Data:
    """Opens what a recipe takes: the images of a pixel recipe, or the training rows of a token data set.

    Raises:
        RunError: it is of the other kind, or has no labels.
    """
    is_store = (Path(data) / MANIFEST).exists()
    if recipe.input == "pixels" and is_store:
        raise RunError(
            "is a token data set, and the recipe takes pixels",
            os.fspath(data),
            "give the images themselves, or a recipe on ids such as mini",
        )
    if recipe.input == "ids" and not is_store and (data in EMBEDDED or Path(data).exists()):
        raise RunError(
            "is not a token data set, which the recipe takes",
            os.fspath(data),
            f"make one with `seit tokenize {data} OUT`, or choose a recipe on pixels such as mini-pixels",
        )
    opened: Data = open_source(data, account=account) if recipe.input == "pixels" else TokenDataset(data, "train")
    if not opened.classes:
        raise RunError("has no labels to learn", os.fspath(data), "give images that lie in class folders")
    return opened


def described(data: str | os.PathLike[str], opened: Data, recipe: Recipe) -> dict[str, Any]:
    """Returns what run.json says of the data and the recipe."""
    about: dict[str, Any] = {"data": os.fspath(data), "classes": opened.classes, "recipe": recipe.to_json()}
    about |= {"rows": opened.splits, "preprocessing": preprocessing_of(opened, recipe)}
    if isinstance(opened, TokenDataset):
        return about | {
            "data_bytes": ledger(opened.manifest, len(to_bytes(opened.manifest)))["total"],
            "tokenizer": opened.tokenizer,
            "used_codes": opened.used_codes.tolist(),
            "fingerprint": opened.fingerprint(),
            "frozen": str(opened.source.get("frozen", "not recorded")),
        }
    views = json.dumps([opened.boxes, opened.flips]) if opened.boxes else ""
    return about | {
        "data_bytes": opened.file_bytes(),
        "fingerprint": hashed("images", *opened.names, opened.labels.tobytes(), views, opened.view_labels.tobytes())
        if views
        else hashed("images", *opened.names, opened.labels.tobytes()),
        "frozen": "none",
    }


def preprocessing_of(opened: Data, recipe: Recipe) -> dict[str, Any]:
    """Returns how an image becomes the view that a run's classifier, or its tokenizer, sees."""
    if isinstance(opened, TokenDataset):
        return opened.tokenizer["preprocessing"]
    return {"size": recipe.pixel_size, "resize": recipe.resize, "interpolation": "bicubic"}


@dataclass(frozen=True)
class Assembled:
    """A training, and what run.json says of how it was put together.

    Attributes:
        training: what `fit` takes.
        augment: the augmentations that are drawn anew in every epoch, in order, as text.
        transfer: of a run that starts from another: which weights were kept, resampled, new and dropped.
        held_out: rows it is measured on, which it does not learn from.
    """

    training: Training
    augment: str
    transfer: dict[str, list[str]] | None
    held_out: int

    @property
    def details(self) -> dict[str, Any]:
        """All that the last evaluation of accuracy measured, confusions too."""
        accuracies = (one for one in self.training.evaluations if isinstance(one, Accuracy))
        return next((one.details for one in accuracies), {})


def assemble(
    recipe: Recipe,
    opened: Data,
    encoder: Tokenizer | None = None,
    from_run: str | os.PathLike[str] | None = None,
    about: dict[str, Any] | None = None,
    skip: bool = False,
) -> Assembled:
    """Builds a recipe's model, objective, feed and evaluations for some data.

    Args:
        recipe: what to build.
        opened: what `open_data` returned.
        encoder: the data set's tokenizer, which mirrored ids are found out with; None where it is not at hand.
        from_run: a finished run whose weights to start from.
        about: what `described` returned, to compare with that run's.
        skip: leave out rows without a label, instead of refusing the data.

    Raises:
        ModelError: unknown trunk or stem, or one that does not fit the grid.
        RecipeError: an augmentation does not fit the data.
        RunError: `from_run` is not a finished run, or its ids are of another tokenizer.
    """
    torch.manual_seed(recipe.seed)
    model = build_model(recipe, opened)
    transfer = None if from_run is None else start_from(from_run, model, about or {})
    rows, held, augment, text = _fed(opened, recipe, model, encoder, skip)
    feed = RowFeed(rows, recipe.batch_size, recipe.seed, recipe.one_view, recipe.repeats)
    evaluations: list[OfClasses] = []
    if held is not None:
        several = isinstance(opened, TokenDataset) and opened.label_kind == "multi"
        kind = MeanPrecision if several else Accuracy
        evaluations.append(kind(held, opened.classes, recipe.eval_every, recipe.precision))
    objective = Classify(model, augment, recipe.loss)
    _say_rate(recipe, feed.batch_size)
    training = Training(recipe, model, objective, feed, evaluations)
    return Assembled(training, text, transfer, 0 if held is None else len(held))


def build_model(recipe: Recipe, opened: Data) -> Classifier:
    """Builds a recipe's classifier, with fresh weights, for some data."""
    classes = len(opened.classes)
    if isinstance(opened, Source):
        side = recipe.pixel_size
        stem = f"patch{4 if side <= 64 else 16}" if recipe.stem == "auto" else recipe.stem
        return build(
            recipe.trunk,
            stem,
            3,
            (side, side),
            classes,
            drop_path=recipe.drop_path,
            pool=recipe.pool,
            normalise=recipe.normalise,
        )
    stem = token_stem(min(opened.grid)) if recipe.stem == "auto" else recipe.stem
    if opened.codebook is None:
        raise RunError("the data set has no codebook", cure="tokenize the images again")
    codebook = torch.from_numpy(opened.codebook)
    return build(
        recipe.trunk,
        stem,
        codebook.shape[1],
        opened.grid,
        classes,
        codebook=codebook,
        learned=recipe.learned,
        drop_path=recipe.drop_path,
        pool=recipe.pool,
    )


def _fed(
    opened: Data, recipe: Recipe, model: Classifier, encoder: Tokenizer | None, skip: bool
) -> tuple[Rows, Rows | None, Pipeline, str]:
    """Returns the training rows, the held-out ones if there are any, the augmentations and their description."""
    if isinstance(opened, TokenDataset):
        held = _resident(TokenDataset(opened.path, "val"), skip) if opened.splits.get("val") else None
        ids = _resident(opened, skip)
        augment = _pipeline(recipe.augment, recipe, ids.grid, model, encoder and (lambda: _mirror(ids, encoder)))
        return ids, held, augment, str(augment)
    preprocessing = preprocessing_of(opened, recipe)
    shown = PixelRows(opened, "val", preprocessing) if opened.splits["val"] else None
    change, rest = from_file(recipe.augment, model.input_grid)
    if change is None:
        views = PixelRows(opened, "train", preprocessing)
        augment = _pipeline(rest, recipe, views.grid, model)
        return views, shown, augment, str(augment)
    augment = _pipeline(rest, recipe, model.input_grid, model)
    return DrawnPixels(opened, change, model.input_grid), shown, augment, f"{change} -> {augment}"


def _pipeline(
    augment: Sequence[Augmentation],
    recipe: Recipe,
    grid: tuple[int, int],
    model: Classifier,
    mirror: Callable[[], Tensor] | None = None,
) -> Pipeline:
    """Returns the pipeline of a recipe's augmentations for rows of this grid."""
    return Pipeline(
        augment,
        grid,
        model.input_grid,
        model.config.classes,
        codebook=model.table,
        normalise=model.normalise,
        mirror=mirror,
        view=model.view_grid,
        smoothing=recipe.smoothing,
    )


def _mirror(rows: TokenRows, encoder: Tokenizer) -> Tensor:
    """Returns the id that each code has in a mirrored picture, of up to 2000 rows and about 131,000 cells."""
    cells = rows.grid[0] * rows.grid[1]
    count = min(len(rows), 2000, max(64, (1 << 17) // cells))
    ids = rows.ids(np.linspace(0, len(rows) - 1, count).astype(np.int64))
    return mirror_table(encoder, ids, torch.from_numpy(rows.used_codes).long())


def _resident(dataset: TokenDataset, skip: bool) -> TokenRows:
    """Returns the rows with a label, decoded into memory if they are small, else as they are."""
    rows = labelled(dataset, f"{dataset.path} (split {dataset.split})", skip=skip)
    return Resident(rows) if len(rows) * dataset.manifest.cells * 2 <= _RESIDENT_BYTES else rows


def _say_rate(recipe: Recipe, batch_size: int) -> None:
    """Says what the learning rate of a batch is that the recipe's is not for."""
    if ranks.rank() == 0 and recipe.learning_rate_batch and recipe.peak(batch_size) != recipe.learning_rate:
        logging.getLogger(__name__).warning(
            "the learning rate peaks at %g: %g for %d rows, and a step has %d",
            recipe.peak(batch_size),
            recipe.learning_rate,
            recipe.learning_rate_batch,
            batch_size,
        )
