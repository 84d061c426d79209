"""`seit predict`: the classes of new images."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seit.device import resolve
from seit.errors import ImageError
from seit.files import write_bytes, write_json
from seit.images import Bad, Image, Preparation, Quarantine, Views, open_source
from seit.images.account import OTHER_KIND, Account, some
from seit.images.listing import TABLES, list_folder
from seit.images.places import Place
from seit.images.quarantine import bad_of, record, report_path, write_report
from seit.models.pipeline import ImageClassifier, load
from seit.progress import progress
from seit.tokenizing.decoders import Decoders, processes_for

_BATCH_PIXELS = 1 << 22


def predict(
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    top: int = 5,
    out: str | os.PathLike[str] | None = None,
    on_error: str = "fail",
    max_bad: int | None = None,
    device: str = "auto",
    dry_run: bool = False,
    account: Account | None = None,
) -> list[dict[str, Any]]:
    """Classifies images with a run's tokenizer and classifier.

    Two lines on standard error say what is read and what is left out.

    Args:
        run: the folder of a finished run.
        images: image files, archives, tables, or folders: every picture below a folder, whatever the folders and
            the pictures are called.
        top: classes listed for each.
        out: a .csv or .json file to write besides.
        on_error: "fail" at the first image that cannot be read, "skip" such images, or skip up to a "limit". Those
            that were skipped are named in OUT.quarantine.jsonl.
        max_bad: the limit.
        device: auto, cpu, cuda or mps.
        dry_run: say what would be read, and return nothing.
        account: is filled in with what was read and what was left out.

    Returns:
        One dict an image: image, class, probability, top.

    Raises:
        RunError: no finished run.
        ImageError: an image is missing or cannot be read.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ImageError("is neither .csv nor .json", str(out), "name it so")
    quarantine, account = Quarantine(on_error, max_bad), Account() if account is None else account
    account.source = some([os.fspath(path) for path in images])
    pictures = [picture for path in images for picture in _pictures(os.fspath(path), account)]
    account.images = len(pictures)
    account.tell()
    quarantine.foresee(account)
    if dry_run:
        return []
    predictions, bad = _classify(load(run, resolve(device)), pictures, top, quarantine)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(out, predictions)
        write_report(report_path(out), bad)
    record(bad, account, report_path(out) if out is not None else None)
    if bad:
        account.tell()
    return predictions


@torch.inference_mode()
def _classify(
    model: ImageClassifier, pictures: list[Image], top: int, quarantine: Quarantine
) -> tuple[list[dict[str, Any]], list[Bad]]:
    """Returns the predictions of the images that can be read, and the others."""
    how = Preparation(model.preprocessing, Views())
    size = min(len(pictures), max(1, _BATCH_PIXELS // (how.shape[0] * how.shape[1])))
    batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    device = next(model.parameters()).device
    predictions, bad = list[dict[str, Any]](), list[Bad]()
    workers = Decoders(how, size, processes_for(len(pictures)))
    with progress(len(pictures), "predict", "images") as bar, workers as decoders:
        for batch, (views, facts) in zip(batches, decoders.batches(batches), strict=True):
            bad += bad_of(facts)
            quarantine.add(bad_of(facts))
            good = np.array([not isinstance(one, Bad) for one in facts])
            names = [image.name for image, whole in zip(batch, good, strict=True) if whole]
            if names:
                pixels = torch.from_numpy(views[: len(facts)][good]).to(device).permute(0, 3, 1, 2).float() / 255
                predictions += _named(names, model(pixels).softmax(-1).cpu(), model.classes, top)
            bar.update(len(facts))
    if not predictions:
        raise ImageError(f"none of {len(pictures)} images can be read", bad[0].name, bad[0].reason)
    return predictions, bad


def _named(names: list[str], shares: torch.Tensor, classes: list[str], top: int) -> list[dict[str, Any]]:
    """Returns the predictions of some images, from probabilities [n, C]."""
    predictions = []
    values, labels = shares.topk(min(top, len(classes)))
    for name, row, columns in zip(names, values.tolist(), labels.tolist(), strict=True):
        best = [[classes[label], share] for label, share in zip(columns, row, strict=True)]
        predictions.append({"image": name, "class": best[0][0], "probability": best[0][1], "top": best})
    return predictions


def _pictures(path: str, account: Account) -> list[Image]:
    """Returns a picture, or all of a folder, archive or table, with the path that names each."""
    if os.path.isdir(path):
        files = list_folder(path, account, by_content=True)
        for name in (*files.tars, *files.tables):
            account.leave(OTHER_KIND, name)
        if not files.names:
            raise ImageError("no images in it", path, "give image files, or folders of them")
        places = [(name, _place(path, name, files.broken)) for name in sorted(files.names)]
        for name, reason in files.broken.items():
            account.unread(os.path.join(path, name), reason)
        return [Image(os.path.join(path, name), "val", -1, place) for name, place in places]
    if not os.path.lexists(path):
        raise ImageError("no such file or folder", path, "check the path")
    if path.lower().endswith((".tar", ".zip", *TABLES)):
        source = open_source(path, for_training=False)
        return [Image(f"{path}: {image.name}", "val", -1, image.read) for image in source]
    return [Image(path, "val", -1, Place("file", "", path))]


def _place(root: str, name: str, broken: dict[str, str]) -> Place:
    return Place("broken", os.path.join(root, name), broken[name]) if name in broken else Place("file", root, name)


def _write(out: Path, predictions: list[dict[str, Any]]) -> None:
    """Writes predictions as .json, or as .csv of the best class of each."""
    if out.suffix == ".json":
        write_json(out, predictions)
        return
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image", "class", "probability"])
    writer.writerows([p["image"], p["class"], f"{p['probability']:.6f}"] for p in predictions)
    write_bytes(out, text.getvalue().encode())
