"""`seit demo`: the whole job on the embedded images, and a report of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from seit.device import machine, resolve
from seit.errors import RunError
from seit.evaluation import accuracy
from seit.files import write_json
from seit.images import Source, decode, open_source
from seit.loading.pixels import PixelRows
from seit.models.pipeline import ImageClassifier, load
from seit.report.demo import DemoPictures, DemoResult, Pair, Photo, Prediction, StoreBytes, TrainedRun, demo_page
from seit.run import Run
from seit.store import TokenDataset
from seit.verbs.show import decode_rows
from seit.verbs.tokenize import tokenize, tokenizer_of
from seit.verbs.train import train

_PARTS = ("sample.tokens", "photos.tokens", "run-tokens", "run-pixels", "report.html", "result.json")
_EPOCHS, _SMALL_EPOCHS = "30", "2"

COMMANDS = [
    ("Turn a folder of class folders into a token data set", "seit tokenize IMAGES tokens"),
    ("See what it holds and costs, and what it looks like", "seit info tokens\nseit show tokens"),
    ("Train a classifier on it", "seit train tokens --out run"),
    ("Measure it, on ids or on images", "seit eval run --tokens tokens\nseit eval run --images IMAGES"),
    ("Classify new images", "seit predict run photo.jpg"),
]


def demo(out: str | os.PathLike[str] = "demo", *, small: bool = False, device: str = "auto") -> dict[str, Any]:
    """Runs the main job on the embedded images and writes report.html and result.json; nothing is precomputed.

    Args:
        out: the folder; an earlier demo in it is replaced.
        small: train for a few steps only, to see that everything works.
        device: auto, cpu, cuda or mps.

    Returns:
        What result.json holds.

    Raises:
        RunError: `out` holds something else.
    """
    out, clock = Path(out), _Clock()
    device = resolve(device)
    _clear(out)
    with clock("tokenize the sample"):
        sample_info = tokenize("sample", out / "sample.tokens", tokenizer="patch4", size=32, device=device)
    with clock("tokenize the photos"):
        photo_info = tokenize("photos", out / "photos.tokens", tokenizer="patch8", device=device)
    settings = {"epochs": _SMALL_EPOCHS if small else _EPOCHS}
    with clock("train on tokens"):
        train(out / "sample.tokens", out / "run-tokens", settings=settings, device=device)
    with clock("train on pixels"):
        settings["pixel_size"] = "32"
        train("sample", out / "run-pixels", recipe="mini-pixels", settings=settings, device=device)
    with clock("evaluate and decode"):
        source, photos = open_source("sample"), open_source("photos")
        on_tokens, on_pixels = load(out / "run-tokens", device), load(out / "run-pixels", device)
        token_run = _run(out / "run-tokens", on_tokens, source)
        pixel_run = _run(out / "run-pixels", on_pixels, source)
        pictures = _pictures(out, source, photos, on_tokens)
    result = DemoResult(
        sample="CIFAR-10",
        train_images=source.splits["train"],
        held_out_images=source.splits["val"],
        classes=source.classes,
        grid=tuple(sample_info["grid"]),
        photo_grid=tuple(photo_info["grid"]),
        trunk=on_tokens.classifier.config.trunk,
        tokens=token_run,
        pixels=pixel_run,
        jpeg_bytes_per_image=sample_info["bytes_per_image"]["source_file"],
        jpeg_payload_bytes_per_image=sample_info["bytes_per_image"]["source_scan"],
        store=_store_bytes(sample_info),
        photo_jpeg_bytes=photo_info["source"]["file_bytes"],
        photo_jpeg_payload_bytes=photo_info["source"]["payload_bytes"],
        photo_store=_store_bytes(photo_info),
        seconds=clock.total(),
        timings=clock.parts,
        machine={**machine(device), "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")},
        commands=COMMANDS,
        notes={
            "tokenize the sample": f"{len(source):,} images of 32 pixels",
            "tokenize the photos": f"{len(photos)} photos at 256 pixels",
            "train on tokens": f"{token_run.steps:,} steps",
            "train on pixels": f"{pixel_run.steps:,} steps",
        },
    )
    demo_page(result, pictures, out / "report.html")
    write_json(out / "result.json", result.json())
    return result.json()


class _Clock:
    """Where the time goes."""

    def __init__(self) -> None:
        self.start, self.parts = time.monotonic(), dict[str, float]()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.parts[part] = time.monotonic() - began

    def total(self) -> float:
        return time.monotonic() - self.start


def _clear(out: Path) -> None:
    """Removes an earlier demo, whole or interrupted; refuses a folder of anything else."""
    if out.exists() and (not out.is_dir() or {p.name.removesuffix(".partial") for p in out.iterdir()} - {*_PARTS}):
        raise RunError("holds something that is no demo of ours", str(out), "choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def _run(folder: Path, model: ImageClassifier, source: Source) -> TrainedRun:
    """Evaluates a run on the sample's held-out images, from the images on, and reads its curve."""
    rows = PixelRows(source, "val", model.preprocessing, model.classes)
    found = accuracy(model, rows, model.classes)
    result, lines = Run(folder).result(), Run(folder).lines()
    assert result is not None  # it was trained just now
    return TrainedRun(
        top1=found["top1"],
        steps=lines[-1]["step"],
        seconds=result["train_seconds"],
        parameters=result["parameters"],
        curve=[(line["step"], line["top1"]) for line in lines],
        confusion=found["confusion"],
    )


def _pictures(out: Path, source: Source, photos: Source, model: ImageClassifier) -> DemoPictures:
    """Draws what the report shows; the first of each class by name, so that none is chosen for its looks."""
    held = source.split("val")
    first = {label: [i for i in held if source.labels[i] == label] for label in range(len(source.classes))}
    shown = [i for rank in range(4) for i in (places[rank] for places in first.values())]
    dataset = TokenDataset(out / "sample.tokens", "val")
    decoded = decode_rows(dataset, tokenizer_of(dataset), np.array(shown[:20]) - held.start)
    originals = [decode(source[i].read(), source[i].name) for i in shown]
    guesses = model.predict(originals)
    return DemoPictures(
        photos=_photos(out / "photos.tokens", photos),
        pairs=[Pair(source[i].name, o, d) for i, o, d in zip(shown, originals, decoded, strict=False)],
        predictions=[
            Prediction(picture, source.classes[source.labels[i]], guess["class"], guess["probability"])
            for i, picture, guess in zip(shown, originals, guesses, strict=True)
        ],
        chosen="The first four held-out images of each class by name.",
    )


def _photos(path: Path, photos: Source) -> list[Photo]:
    dataset = TokenDataset(path)
    pictures = decode_rows(dataset, tokenizer_of(dataset), np.arange(len(dataset)))
    # 1024 ids are a block of their own: a photo's bytes are its payload and its 4-byte offset.
    row_bytes = dataset.bytes_at(np.arange(len(dataset))) + 4
    found = []
    for i, (picture, token_bytes) in enumerate(zip(pictures, map(int, row_bytes), strict=True)):
        data = photos[i].read()
        original = decode(data, photos[i].name)
        found.append(Photo(photos[i].name, original, picture, len(data), token_bytes))
    return found


def _store_bytes(info: dict[str, Any]) -> StoreBytes:
    parts = info["bytes"]
    return StoreBytes(
        images=info["images"],
        payload=parts["payload"],
        offsets=parts["offsets"],
        labels=parts["labels"],
        names=parts["side_table"],
        codebook=parts["codebook"],
        tables=parts["codec_tables"],
        manifest=parts["manifest"],
        other=parts["container"] + parts["checks"] + parts["superseded"],
    )
