"""`seit eval`: the accuracy of a run on a token data set, or on images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seit.device import resolve
from seit.errors import RunError, SeitError, nearest_names
from seit.evaluation import accuracy, mean_average_precision
from seit.images import open_source
from seit.loading.pixels import PixelRows
from seit.loading.remap import Remapped
from seit.loading.rows import Rows
from seit.models.pipeline import ImageClassifier, load
from seit.run import Run
from seit.store import TokenDataset

SPLITS = ("train", "val", "all")


def eval(
    run: str | os.PathLike[str],
    *,
    tokens: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    split: str = "val",
    classes: str | Sequence[str] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measures a run's accuracy on one split of a token data set or of images.

    Args:
        run: the folder of a finished run.
        tokens: a token data set of the same tokenizer.
        images: images in class folders, or a tar of them; they go through the run's own tokenizer.
        split: "train", "val" or "all". Of class folders without a held-out folder "val" is 5% of each class.
        classes: measure the rows of these classes alone, the classifier choosing among them alone (as ImageNet-R
            is measured): names, or as text names with commas between them, or a file of one name a line.
        device: auto, cpu, cuda or mps.

    Returns:
        split, split_rule (how it was made), all_rows (of all splits), rows (measured), classes (of the confusion),
        and what `seit.evaluation.accuracy` returns, or `mean_average_precision` where rows carry several classes.

    Raises:
        RunError: no finished run, a data set of another tokenizer, or unknown classes.
        StoreError: no such split.
    """
    if (tokens is None) == (images is None):
        raise SeitError("one of tokens and images is needed", "seit eval", "give --tokens OUT or --images DIR")
    model, about = load(run, resolve(device)), Run(run).about()
    chosen = None if classes is None else _named_classes(classes, model.classes)
    rows: Rows
    if images is not None:
        rows, measured = _pixels(images, split, model, chosen)
    else:
        assert tokens is not None
        rows, measured = _ids(run, tokens, split, model, about, chosen)
    if chosen is not None:
        rows = rows.with_classes(chosen)
    names = model.classes if chosen is None else chosen
    if not len(rows):
        raise RunError("has no rows of these classes", os.fspath(images or tokens or ""), "choose other --classes")
    places = torch.tensor([model.classes.index(name) for name in names])

    def classify(inputs: Tensor) -> Tensor:
        logits = model(inputs) if images is not None else model.classify(inputs)
        return logits if chosen is None else logits[:, places.to(logits.device)]

    several = rows.label_kind == "multi"
    return measured | (mean_average_precision if several else accuracy)(classify, rows, names) | {"classes": names}


def _pixels(
    images: str | os.PathLike[str], split: str, model: ImageClassifier, chosen: list[str] | None
) -> tuple[PixelRows, dict[str, Any]]:
    """Returns the images of a split as rows, and what they are."""
    source = open_source(images)
    if not source.classes:
        raise RunError("has no class folders to compare with", str(images), "use `seit predict` for them")
    if split not in SPLITS or not source.split(split):
        raise RunError(f"has no images in split {split!r}", str(images), "choose another --split")
    rows = PixelRows(source, split, model.preprocessing, chosen or model.classes, only=chosen is not None)
    return rows, {"split": split, "split_rule": source.split_rule, "all_rows": len(source)}


def _ids(
    run: str | os.PathLike[str],
    tokens: str | os.PathLike[str],
    split: str,
    model: ImageClassifier,
    about: dict[str, Any],
    chosen: list[str] | None,
) -> tuple[Remapped, dict[str, Any]]:
    """Returns the rows of a split of a token data set in the classifier's ids, and what they are."""
    if model.tokenizer is None:
        raise RunError("was trained on pixels", str(run), "evaluate it with --images")
    dataset = TokenDataset(tokens, None if split == "all" else split)
    if dataset.tokenizer["identity"] != about["tokenizer"]["identity"]:
        raise RunError(
            f"was trained on ids of {_named(about['tokenizer'])}, {tokens} holds {_named(dataset.tokenizer)}",
            str(run),
            "tokenize the images with the run's tokenizer and size, or evaluate with --images",
        )
    codebook = model.tokenizer.codebook.cpu().numpy()
    rows = Remapped(
        dataset, np.array(about["used_codes"]), codebook, chosen or model.classes, only=chosen is not None
    )
    rule = dataset.source.get("split_rule", "")
    return rows, {"split": split, "split_rule": rule, "all_rows": dataset.manifest.rows}


def _named_classes(given: str | Sequence[str], known: list[str]) -> list[str]:
    """Returns the chosen classes in the classifier's order.

    Raises:
        RunError: the classifier does not know one; near misses are named.
    """
    if isinstance(given, str):
        # A class may hold a comma or a space, so a file is read by lines, and only a list is cut at commas.
        given = Path(given).read_text().splitlines() if os.path.isfile(given) else given.split(",")
    wanted = {name.strip() for name in given} - {""}
    for name in sorted(wanted - set(known)):
        raise RunError(f"the classifier knows no class {name!r}", "--classes", nearest_names(name, known))
    if not wanted:
        raise RunError("names no class", "--classes", "give names with commas between them, or a file of names")
    return [name for name in known if name in wanted]


def _named(tokenizer: dict[str, Any]) -> str:
    size = tokenizer["preprocessing"]["size"]
    return f"{tokenizer['name']} at {size} pixels ({tokenizer['identity'][:8]})"
