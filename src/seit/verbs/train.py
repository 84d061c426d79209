"""`seit train`: a token data set (or images, for a pixel recipe) -> a run."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from seit import __version__, ranks, recipes, tokenizers
from seit.augment import Augmentation, Pipeline
from seit.augment.from_file import from_file
from seit.device import machine, resolve
from seit.errors import RunError, StoreError, TokenizerError
from seit.evaluation import accuracy, mean_average_precision
from seit.files import write_json
from seit.images import Quarantine, Source, open_source
from seit.images.account import Account
from seit.images.quarantine import report_path, skippable, usable
from seit.images.sources import EMBEDDED
from seit.loading import Resident
from seit.loading.drawn import DrawnPixels
from seit.loading.labelled import labelled
from seit.loading.pixels import PixelRows
from seit.loading.rows import Rows
from seit.models import Classifier, build
from seit.models.pipeline import CLASSIFIER, RUN, TOKENIZER, ImageClassifier, read_json, read_run
from seit.models.start import start_from, weights_of
from seit.models.stems import token_stem
from seit.store import TokenDataset, TokenRows
from seit.store.describe import ledger
from seit.store.manifest import NAME as MANIFEST
from seit.store.manifest import to_bytes
from seit.store.token_rows import hashed
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.mirror import mirror_table
from seit.training import Recipe, fit
from seit.training.state import CHECKPOINTS
from seit.verbs.runs import RESULT, write_report
from seit.verbs.tokenize import tokenizer_of

_RESIDENT_BYTES = 4 << 30


def train(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: str | Recipe = "mini",
    settings: Mapping[str, str] | None = None,
    from_run: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    on_error: str = "fail",
    max_bad: int | None = None,
    device: str = "auto",
    log: Sequence[str] = (),
    command: str = "",
    account: Account | None = None,
) -> dict[str, Any]:
    """Trains a classifier; an interrupted call goes on where it stopped.

    Started by `torchrun`, it shares the work among all its processes; each returns the same.

    Args:
        data: a token data set; or images, if the recipe's input is pixels.
        out: the folder of the run.
        recipe: a name (see `seit.recipes`) or a recipe.
        settings: fields of the recipe to change, as text.
        from_run: a finished run whose weights to start from, on ids or pixels, of the same or other classes.
        tokenizer: the data set's tokenizer, where it is not a bundled one.
        on_error: "fail" at the first image that cannot be read, "skip" such images, or skip up to a "limit". Those
            that were skipped are named in OUT.quarantine.jsonl. "skip" also leaves out rows without a label.
        max_bad: the limit.
        device: auto, cpu, cuda or mps.
        log: "tensorboard" and "wandb" (Weights & Biases) get every line of metrics.jsonl too.
        command: recorded as the command that made it.
        account: is filled in with what of images was read and what was left out.

    Returns:
        run; top1 (and top5), or map for rows of several classes, on the held-out rows if there are any; the same
        at its best epoch, whose weights are in the folder `best`; times and sizes.

    Raises:
        RunError: `out` holds something else, or another process trains it; the rows have no labels, or `data` is
            not what the recipe takes.
        RecipeError: unknown recipe or setting.
        ModelError: unknown trunk or stem, or one that does not fit the grid.
    """
    wanted = (recipes.load(recipe) if isinstance(recipe, str) else recipe).with_settings(settings or {})
    device = resolve(device)
    ranks.join(device)
    out = Path(out)
    _check_kind(data, wanted)
    quarantine = Quarantine(on_error, max_bad)
    opened: Source | TokenDataset = (
        open_source(data, account=account) if wanted.input == "pixels" else TokenDataset(data, "train")
    )
    if not opened.classes:
        raise RunError("has no labels to learn", os.fspath(data), "give images that lie in class folders")
    if isinstance(opened, Source):
        opened.account.silent = ranks.rank() > 0
        opened = usable(opened, quarantine, report_path(out))
    encoder = _tokenizer(opened, tokenizer) if isinstance(opened, TokenDataset) else None
    about = _about(data, opened, wanted) | {"command": command, "versions": _versions()}
    about["recipe_name"] = recipe if isinstance(recipe, str) else "own"
    about["from"] = None if from_run is None else {"run": os.fspath(from_run), "weights": weights_of(from_run)}
    if done := ranks.first(lambda: _finished(out, about)):
        return done
    torch.manual_seed(wanted.seed)
    model = _build(wanted, opened, len(about["classes"]))
    if from_run is not None:
        about["transfer"] = start_from(from_run, model, about)
    skip = quarantine.most is None
    with skippable(quarantine):
        rows, held, augment, about["augment"] = _fed(opened, wanted, model, about["preprocessing"], encoder, skip)
    # Only now: a recipe that cannot be built leaves no folder that the mended one would be refused.
    held_open = contextlib.ExitStack()
    ranks.first(lambda: _begin(out, about, held_open))
    several = isinstance(opened, TokenDataset) and opened.label_kind == "multi"
    found: dict[str, Any] = {}

    def evaluate(classifier: Classifier) -> dict[str, float]:
        if held is None:
            return {}
        classifier.eval()
        whole = ImageClassifier(classifier, None, about["classes"], about["preprocessing"], wanted.precision)
        if several:
            return {"map": mean_average_precision(whole.classify, held, about["classes"])["map"]}
        found.update(accuracy(whole.classify, held, about["classes"], silent=True))
        return {name: float(found[name]) for name in ("top1", "top5") if name in found}

    with held_open, skippable(quarantine):
        values = fit(model, augment, rows, wanted, out, evaluate, device, log)
        return ranks.first(lambda: _finish(out, model, encoder, values, held, found, machine(device)))


def _begin(out: Path, about: dict[str, Any], held_open: contextlib.ExitStack) -> None:
    """Makes the run's folder, writes down what it is, and keeps a second training away from it.

    Raises:
        RunError: another process trains it.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / RUN).exists():
        write_json(out / RUN, about)
    (out / CHECKPOINTS).mkdir(exist_ok=True)
    lock = held_open.enter_context((out / CHECKPOINTS / "lock").open("w"))
    try:
        # Not flock: loader workers, which are forked, would hold that for seconds after this process was killed.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        held_open.close()
        cure = "wait for it, or stop it and run the command again"
        raise RunError("is being trained by another process", os.fspath(out), cure) from None
    except OSError:
        pass  # a file system without locks


def _finish(
    out: Path,
    model: Classifier,
    encoder: Tokenizer | None,
    values: dict[str, float],
    held: Rows | None,
    found: dict[str, Any],
    trained_on: dict[str, str],
) -> dict[str, Any]:
    """Saves the pipeline and the run's page, and the result last: it marks the run as finished."""
    if encoder is not None:
        tokenizers.save(encoder, out / TOKENIZER, {})
    (out / CLASSIFIER).mkdir(exist_ok=True)
    model.cpu().save_pretrained(out / CLASSIFIER)
    result = {
        "run": os.fspath(out),
        **{k: round(v, 6) for k, v in values.items()},
        "held_out_rows": 0 if held is None else len(held),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    write_report(out, result, found, trained_on)
    write_json(out / RESULT, result)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return result


def _check_kind(data: str | os.PathLike[str], recipe: Recipe) -> None:
    """Refuses images for a recipe on ids, and a token data set for one on pixels."""
    is_store = (Path(data) / MANIFEST).exists()
    if recipe.input == "pixels" and is_store:
        raise RunError(
            "is a token data set, and the recipe takes pixels",
            os.fspath(data),
            "give the images themselves, or a recipe on ids such as mini",
        )
    if recipe.input == "ids" and not is_store and (data in EMBEDDED or Path(data).exists()):
        raise RunError(
            "is no token data set, which the recipe takes",
            os.fspath(data),
            f"make one with `seit tokenize {data} OUT`, or choose a recipe on pixels such as mini-pixels",
        )


def _about(data: str | os.PathLike[str], opened: Source | TokenDataset, recipe: Recipe) -> dict[str, Any]:
    """Returns what run.json says of the data and the recipe."""
    about: dict[str, Any] = {"data": os.fspath(data), "classes": opened.classes, "recipe": recipe.to_json()}
    about["rows"] = opened.splits
    if isinstance(opened, TokenDataset):
        return about | {
            "data_bytes": ledger(opened.manifest, len(to_bytes(opened.manifest)))["total"],
            "preprocessing": opened.tokenizer["preprocessing"],
            "tokenizer": opened.tokenizer,
            "used_codes": opened.used_codes.tolist(),
            "fingerprint": opened.fingerprint(),
            "frozen": str(opened.source.get("frozen", "not recorded")),
        }
    return about | {
        "data_bytes": opened.file_bytes(),
        "preprocessing": {"size": recipe.pixel_size, "resize": recipe.resize, "interpolation": "bicubic"},
        "fingerprint": hashed("images", *opened.names, opened.labels.tobytes()),
        "frozen": "none",
    }


def _fed(
    opened: Source | TokenDataset,
    recipe: Recipe,
    model: Classifier,
    preprocessing: dict[str, Any],
    encoder: Tokenizer | None,
    skip: bool,
) -> tuple[Rows, Rows | None, Pipeline, str]:
    """Returns the training rows, the held-out ones if there are any, the augmentations and their description."""
    if isinstance(opened, TokenDataset):
        held = _resident(TokenDataset(opened.path, "val"), skip) if opened.splits.get("val") else None
        ids = _resident(opened, skip)
        augment = _augment(recipe.augment, recipe, ids.grid, model, encoder and (lambda: _mirror(ids, encoder)))
        return ids, held, augment, str(augment)
    shown = PixelRows(opened, "val", preprocessing) if opened.splits["val"] else None
    change, rest = from_file(recipe.augment, model.input_grid)
    if change is None:
        views = PixelRows(opened, "train", preprocessing)
        augment = _augment(rest, recipe, views.grid, model)
        return views, shown, augment, str(augment)
    augment = _augment(rest, recipe, model.input_grid, model)
    return DrawnPixels(opened, change, model.input_grid), shown, augment, f"{change} -> {augment}"


def _augment(
    augment: tuple[Augmentation, ...],
    recipe: Recipe,
    grid: tuple[int, int],
    model: Classifier,
    mirror: Callable[[], torch.Tensor] | None = None,
) -> Pipeline:
    """Builds the pipeline of a recipe's augmentations for rows of this grid."""
    return Pipeline(
        augment,
        grid,
        model.input_grid,
        model.config.classes,
        codebook=model.table,
        mirror=mirror,
        view=min(model.view_grid, grid),
        smoothing=recipe.smoothing,
    )


def _mirror(rows: TokenRows, encoder: Tokenizer) -> torch.Tensor:
    """Returns the id that each code has in a mirrored picture, of up to 2000 rows and about 131,000 cells."""
    cells = rows.grid[0] * rows.grid[1]
    count = min(len(rows), 2000, max(64, (1 << 17) // cells))
    shown = rows.ids(np.linspace(0, len(rows) - 1, count).astype(np.int64))
    return mirror_table(encoder, shown, torch.from_numpy(rows.used_codes).long())


def _finished(out: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """Checks that `out` is free or holds this very run; returns the result if that is finished."""
    if (out / RUN).exists():
        found, wanted = read_run(out), json.loads(json.dumps(about))
        compared = ("data", "classes", "preprocessing", "recipe", "tokenizer", "from", "fingerprint")
        differing = [key for key in compared if found.get(key) != wanted.get(key)]
        if differing == ["fingerprint"]:
            raise RunError("holds a run on what the data was before it changed", str(out), "choose another --out")
        if differing:
            named = " and ".join(key for key in differing if key != "fingerprint")
            raise RunError(f"holds a run with another {named}", str(out), "choose another --out")
        if not (out / RESULT).exists():
            return None
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        return read_json(out / RESULT)
    if out.exists() and (not out.is_dir() or any(path.suffix != ".tmp" for path in out.iterdir())):
        raise RunError("exists and is not a run", str(out), "choose another --out")
    return None


def _resident(dataset: TokenDataset, skip: bool) -> TokenRows:
    """Returns the rows with a label, decoded into memory if they are small, else as they are."""
    rows = labelled(dataset, f"{dataset.path} (split {dataset.split})", skip=skip)
    return Resident(rows) if len(rows) * dataset.manifest.cells * 2 <= _RESIDENT_BYTES else rows


def _tokenizer(dataset: TokenDataset, given: str | os.PathLike[str] | None) -> Tokenizer | None:
    """Returns the data set's tokenizer, or None if it is not at hand: then the run takes no images.

    Raises:
        StoreError: the given one is another than the data set's.
        TokenizerError: there is none of the given name.
    """
    try:
        return tokenizer_of(dataset, given)
    except (StoreError, TokenizerError):
        if given is not None:
            raise
        return None


def _build(recipe: Recipe, opened: Source | TokenDataset, classes: int) -> Classifier:
    """Builds the recipe's classifier for these rows."""
    if isinstance(opened, Source):
        side = recipe.pixel_size
        stem = f"patch{4 if side <= 64 else 16}" if recipe.stem == "auto" else recipe.stem
        return build(recipe.trunk, stem, 3, (side, side), classes, drop_path=recipe.drop_path)
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
    )


@functools.cache
def _versions() -> dict[str, str]:
    return {"seit": __version__, "torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}
