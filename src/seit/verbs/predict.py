"""`seit predict`: the classes of new images."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seit.device import resolve
from seit.errors import ImageError
from seit.files import write_bytes, write_json
from seit.images import open_source
from seit.models.pipeline import load


def predict(
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    top: int = 5,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Classifies images with a run's tokenizer and classifier.

    Args:
        run: the folder of a finished run.
        images: image files, or folders of them.
        top: classes listed for each.
        out: a .csv or .json file to write besides.
        device: auto, cpu, cuda or mps.

    Returns:
        One dict an image: image, class, probability, top.

    Raises:
        RunError: no finished run.
        ImageError: an image is missing or cannot be read.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ImageError("is neither .csv nor .json", str(out), "name it so")
    model = load(run, resolve(device))
    results = model.predict(_files(images), top=top)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if out is not None and out.suffix == ".json":
        write_json(out, results)
    elif out is not None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["image", "class", "probability"])
        writer.writerows([r["image"], r["class"], f"{r['probability']:.6f}"] for r in results)
        write_bytes(out, text.getvalue().encode())
    return results


def _files(images: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Returns the image files, folders replaced by what lies in them."""
    found: list[str] = []
    for image in images:
        if Path(image).is_dir():
            found += [os.path.join(image, name) for name in open_source(Path(image)).names]
        else:
            found.append(os.fspath(image))
    return found
