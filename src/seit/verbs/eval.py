"""`seit eval`: the accuracy of a run on a token data set, or on images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from seit.device import resolve
from seit.errors import RunError, SeitError
from seit.evaluation import accuracy
from seit.images import open_source
from seit.loading.pixels import PixelRows
from seit.loading.remap import Remapped
from seit.models.pipeline import load, read_run
from seit.store import TokenDataset


def eval(
    run: str | os.PathLike[str],
    *,
    tokens: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    split: str = "val",
    device: str = "auto",
) -> dict[str, Any]:
    """Measures a run's accuracy on one split of a token data set or of images.

    Args:
        run: the folder of a finished run.
        tokens: a token data set of the same tokenizer.
        images: images in class folders, or a tar of them; they go through the run's own tokenizer.
        split: "train" or "val".
        device: auto, cpu, cuda or mps.

    Returns:
        rows, top1, top5, per_class.

    Raises:
        RunError: no finished run, or a data set of another tokenizer.
        StoreError: no such split or unknown classes.
    """
    if (tokens is None) == (images is None):
        raise SeitError("one of tokens and images is needed", "seit eval", "give --tokens OUT or --images DIR")
    model, about = load(run, resolve(device)), read_run(run)
    if images is not None:
        source = open_source(images)
        if not source.classes:
            raise RunError("has no class folders to compare with", str(images), "use `seit predict` for them")
        if not source.splits.get(split):
            raise RunError(f"has no images in split {split!r}", str(images), "choose another --split")
        pixels = PixelRows(source, split, model.preprocessing, model.classes)
        return accuracy(lambda views: model((views + 1) / 2), pixels, model.classes)
    assert tokens is not None
    if model.tokenizer is None:
        raise RunError("was trained on pixels", str(run), "evaluate it with --images")
    dataset = TokenDataset(tokens, split)
    if dataset.tokenizer["identity"] != about["tokenizer"]["identity"]:
        raise RunError(
            f"was trained on ids of {_named(about['tokenizer'])}, {tokens} holds {_named(dataset.tokenizer)}",
            str(run),
            "tokenize the images with the run's tokenizer and size, or evaluate with --images",
        )
    rows = Remapped(dataset, np.array(about["used_codes"]), model.tokenizer.codebook.cpu().numpy(), model.classes)
    return accuracy(model.classify, rows, model.classes)


def _named(tokenizer: dict[str, Any]) -> str:
    size = tokenizer["preprocessing"]["size"]
    return f"{tokenizer['name']} at {size} pixels ({tokenizer['identity'][:8]})"
