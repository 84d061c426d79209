"""`seit train`: a token data set (or images, for a pixel recipe) -> a run."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import timm
import torch

from seit import __version__, ranks, recipes, tokenizers
from seit.device import machine, resolve
from seit.errors import StoreError, TokenizerError
from seit.images import Quarantine, Source
from seit.images.account import Account
from seit.images.quarantine import report_path, skippable, usable
from seit.models.start import weights_of
from seit.run import Run
from seit.store import TokenDataset
from seit.tokenizers.base import Tokenizer
from seit.training import Recipe, fit
from seit.training.identity import accepted, begun
from seit.training.setup import Assembled, Data, assemble, described, open_data
from seit.verbs.runs import write_report
from seit.verbs.tokenize import tokenizer_of


def train(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: str | Recipe = "mini",
    settings: Mapping[str, str] | None = None,
    from_run: str | os.PathLike[str] | None = None,
    extend: bool = False,
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
        extend: go on with the run in `out`, finished or not, for more epochs than it was begun with. From there on
            its learning rate is that of the longer run; run.json records it.
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
        at its best epoch, whose weights are in the folder `best`; loss, times and sizes.

    Raises:
        RunError: `out` holds something else; the rows have no labels, or `data` is not what the recipe takes.
        BusyError: another process trains it.
        RecipeError: unknown recipe or setting.
        ModelError: unknown trunk or stem, or one that does not fit the grid.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGUSR1; every step that was made is saved.
    """
    chosen = (recipes.load(recipe) if isinstance(recipe, str) else recipe).with_settings(settings or {})
    device, run = resolve(device), Run(out)
    ranks.join(device)
    quarantine = Quarantine(on_error, max_bad)
    opened = open_data(data, chosen, account)
    if isinstance(opened, Source):
        opened.account.silent = ranks.rank() > 0
        opened = usable(opened, quarantine, report_path(run.path))
    encoder = _tokenizer(opened, tokenizer)
    about = described(data, opened, chosen) | {"command": command, "versions": _versions()}
    about["recipe_name"] = recipe if isinstance(recipe, str) else "own"
    about["from"] = None if from_run is None else {"run": os.fspath(from_run), "weights": weights_of(from_run)}
    if result := ranks.first(lambda: accepted(run, about, extend)):
        return result
    with skippable(quarantine):
        assembled = assemble(chosen, opened, encoder, from_run, about, quarantine.most is None)
    about |= {"augment": assembled.augment, "transfer": assembled.transfer}
    with contextlib.ExitStack() as block:
        # Only now: a recipe that cannot be built leaves no folder that the mended one would be refused.
        if result := ranks.first(lambda: block.enter_context(begun(run, about, extend))):
            return result
        with skippable(quarantine):
            values = fit(assembled.training, run, device, log)
        return ranks.first(lambda: _finish(run, assembled, encoder, values, machine(device)))


def _finish(
    run: Run,
    assembled: Assembled,
    encoder: Tokenizer | None,
    values: dict[str, float],
    trained_on: dict[str, str],
) -> dict[str, Any]:
    """Saves tokenizer, classifier and the run's page, and the result last: it marks the run as finished."""
    model: Any = assembled.training.model
    if encoder is not None:
        tokenizers.save(encoder, run.tokenizer, {})
    run.classifier.mkdir(exist_ok=True)
    model.cpu().save_pretrained(run.classifier)
    result = {
        "run": str(run),
        **{name: round(value, 6) for name, value in values.items()},
        "held_out_rows": assembled.held_out,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    write_report(run, result, assembled.details, trained_on)
    run.finish(result)
    return result


def _tokenizer(opened: Data, asked: str | os.PathLike[str] | None) -> Tokenizer | None:
    """Returns the data set's tokenizer, or None if it is not at hand: then the run takes no images.

    Raises:
        StoreError: the one that was asked for is another than the data set's.
        TokenizerError: there is none of that name.
    """
    if not isinstance(opened, TokenDataset):
        return None
    try:
        return tokenizer_of(opened, asked)
    except (StoreError, TokenizerError):
        if asked is not None:
            raise
        return None


@functools.cache
def _versions() -> dict[str, str]:
    return {"seit": __version__, "torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}
