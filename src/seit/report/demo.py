"""The demo's report, as a function of plain data: what was measured, and the pictures it was measured on.

The caller measures and fills `DemoResult` (numbers; `DemoResult.json()` is `demo/result.json`) and
`DemoPictures`; nothing here computes more than sums and shares of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from seit.report import formats
from seit.report.demo_data import DemoPictures, DemoResult, Pair, Photo, Prediction, StoreBytes, TrainedRun
from seit.report.figures import Axis, Bar, Line, bars, confusion, curves
from seit.report.page import Column, Headline, Page, Part
from seit.report.pictures import Tile

__all__ = [
    "DemoPictures",
    "DemoResult",
    "Pair",
    "Photo",
    "Prediction",
    "StoreBytes",
    "TrainedRun",
    "demo_page",
    "interval",
]

_IMAGENET = 1_281_167  # images of ImageNet-1k's training split


def demo_page(result: DemoResult, pictures: DemoPictures, path: str | os.PathLike[str]) -> Path:
    """Writes the demo's report, one self-contained HTML file.

    Args:
        result: what was measured.
        pictures: what to show: about a dozen photos, 20 pairs, 40 predictions keep it under 3 MB.
        path: the file.

    Returns:
        The path.
    """
    page = _opening(result)
    _photos(page, result, pictures.photos)
    _bytes(page, result)
    _accuracy(page, result)
    _predictions(page, result, pictures)
    _time(page, result)
    page.section("Do it with your own images")
    page.commands("", result.commands, "Every command takes `--help`, and each is a Python function of its name.")
    page.section("This run")
    page.details("", dict(result.machine))
    return page.write(path)


def interval(share: float, count: int) -> tuple[float, float]:
    """The 95% interval (Wilson) of a share measured on `count` images: sampling error of the test set only."""
    if not count:
        return 0.0, 1.0
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def _opening(result: DemoResult) -> Page:
    page = Page(
        "Learning from tokens instead of pixels",
        f"{formats.number(result.store.images)} small images of {result.sample} and "
        f"{formats.number(result.photo_store.images)} full-size photos were turned into tokens. A classifier then "
        f"learned from the tokens, and its twin from the pixels. "
        f"All numbers and pictures below were made by this run, in {formats.duration(result.seconds)}.",
        "Written by `seit`. One file, no script, no network: it can be kept or passed on as it is.",
    )
    held = f"first guess right on {formats.number(result.held_out_images)} held-out images"
    share = 100 * result.photo_ratio
    page.headlines(
        [
            Headline(f"{100 * result.tokens.top1:.1f}", "%", "top-1, trained on tokens", held),
            Headline(f"{100 * result.pixels.top1:.1f}", "%", "top-1, trained on pixels", "same trunk, same steps"),
            Headline(
                f"{share:.1f}" if share >= 1 else f"{share:.2f}",
                "%",
                "of the photos\u2019 JPEG bytes",
                f"everything counted; {formats.percent(result.photo_ratio_growing, 2)} without what they share",
            ),
            Headline(
                formats.number(result.token_bytes_per_image),
                "bytes",
                f"per image of {result.sample}",
                f"everything counted; its JPEG has {formats.number(result.jpeg_bytes_per_image)}",
            ),
        ]
    )
    return page


def _photos(page: Page, result: DemoResult, photos: Sequence[Photo]) -> None:
    h, w = result.photo_grid
    page.section(
        "What the tokens keep",
        f"Each photo became {h} \u00d7 {w} ids, whole numbers that point into a codebook shared by all photos. "
        "The picture on the right was drawn from those numbers and nothing else.",
    )
    tiles = [
        Tile(
            (photo.original, photo.decoded),
            (
                photo.name,
                f"JPEG {formats.size(photo.jpeg_bytes)}, tokens {formats.size(photo.token_bytes)} "
                f"({formats.percent(photo.token_bytes / photo.jpeg_bytes, 2)})",
            ),
            photo.name,
        )
        for photo in photos
    ]
    page.pictures(
        "Full-size photos",
        tiles,
        ("original", "decoded from tokens"),
        "Tokens: the photo\u2019s own coded ids, offset and label; what all photos share is counted in the tables "
        "below. The tokenizer sees a photo at a fixed size, so a decoded picture has that size however large its "
        "original was: detail finer than that is gone, and faces, letters and textures come back changed.",
        max_side=440,
    )


def _bytes(page: Page, result: DemoResult) -> None:
    page.section(
        "Bytes",
        "The mean of an image, in bytes. The first rows are the source; the last ones are what training needs "
        "in its place.",
    )
    small, large = result.store, result.photo_store
    jpeg = (result.jpeg_bytes_per_image, result.photo_jpeg_bytes / large.images)
    stripped = (result.jpeg_payload_bytes_per_image, result.photo_jpeg_payload_bytes / large.images)
    rows: list[tuple[str, tuple[float, float]]] = [
        ("JPEG file", jpeg),
        ("JPEG without headers and tables", stripped),
        ("tokens, coded ids only", (small.payload / small.images, large.payload / large.images)),
        ("tokens, all that grows with the images", (small.growing / small.images, large.growing / large.images)),
        ("tokens, everything counted", (small.total / small.images, large.total / large.images)),
    ]
    page.table(
        "Bytes per image",
        [
            Column("stored as"),
            Column(result.sample, f"{formats.number(small.images)} images", show=_bytes_shown),
            Column("share", "of JPEG", show=formats.percent),
            Column("photos", f"{formats.number(large.images)} images", show=_bytes_shown),
            Column("share", "of JPEG", show=lambda share: formats.percent(share, 2)),
        ],
        [[name, a, a / jpeg[0], b, b / jpeg[1]] for name, (a, b) in rows],
        "A 32-pixel JPEG is mostly headers and tables, which is why its second row is so much smaller, and why "
        "tokens save less there. Few images share the fixed bytes (codebook, tables, manifest) here: "
        f"{formats.number(small.fixed / small.images)} bytes for each image of {result.sample}, "
        f"{formats.number(large.fixed / large.images)} for each photo. They do not grow: spread over the "
        f"{_IMAGENET:,} images of ImageNet-1k they would be {formats.number(large.fixed / _IMAGENET, 2)} bytes "
        "each.",
        strong={4},
    )
    page.figure(
        bars(
            [
                Bar(name, b, formats.percent(b / jpeg[1], 2), ours=place > 1)
                for place, (name, (_, b)) in enumerate(rows)
            ],
            Axis("bytes per photo", show=formats.size),
        ),
        "A full-size photo, to scale",
    )
    page.shares(
        f"Where the bytes of the {result.sample} token data set are",
        [
            Part("payload", small.payload, "the coded ids"),
            Part("offsets", small.offsets, "where each image\u2019s payload starts"),
            Part("labels", small.labels, "the class of each image"),
            Part("names", small.names, "names, sizes and hashes of the sources; training does not read them"),
            Part("codebook", small.codebook, "one vector for each used code; fixed"),
            Part("tables", small.tables, "what the codec needs to decode; fixed"),
            Part("manifest", small.manifest, "what the data set says of itself; fixed"),
            *([Part("container", small.other, "headers and padding of the files")] if small.other else []),
        ],
        formats.number,
        "bytes",
    )


def _accuracy(page: Page, result: DemoResult) -> None:
    runs = (("tokens", result.tokens), ("pixels", result.pixels))
    page.section(
        "Accuracy",
        f"Two classifiers with the same trunk (`{result.trunk}`), the same images, the same number of steps. "
        f"One saw the {result.grid[0]} \u00d7 {result.grid[1]} ids of each image, the other its pixels.",
    )
    limits = [interval(run.top1, result.held_out_images) for _, run in runs]
    page.table(
        f"First guess right on {formats.number(result.held_out_images)} held-out images",
        [
            Column("trained on"),
            Column("top-1", show=formats.percent),
            Column("95% interval"),
            Column("steps"),
            Column("training", show=formats.duration),
            Column("weights", show=formats.short),
        ],
        [
            [
                name,
                run.top1,
                f"{formats.percent(low)} to {formats.percent(high)}",
                run.steps,
                run.seconds,
                run.parameters,
            ]
            for (name, run), (low, high) in zip(runs, limits, strict=True)
        ],
        f"Chance is {formats.percent(1 / max(1, len(result.classes)))}. The interval is the uncertainty from the "
        f"number of held-out images; another seed would move the figures too. A short run on "
        f"{formats.number(result.train_images)} images says that the path works, not how good it gets: more steps "
        "and images raise both.",
        strong={0},
    )
    lines = [Line(name, *zip(*run.curve, strict=True)) for name, run in runs if run.curve]
    if lines:
        x, y = Axis("step"), Axis("top-1 on held-out images", show=lambda share: formats.percent(share, 0))
        page.figure(curves(lines, x, y), "Along the way")
    if result.tokens.confusion:
        page.figure(
            confusion(result.tokens.confusion, result.classes),
            "What the token-trained classifier takes for what",
            "Each row is a true class; the numbers are percent of the row.",
        )


def _predictions(page: Page, result: DemoResult, pictures: DemoPictures) -> None:
    page.section(f"{result.sample}, seen through tokens")
    if pictures.pairs:
        tiles = [Tile((pair.original, pair.decoded), (pair.name,), pair.name) for pair in pictures.pairs]
        page.pictures("Small images", tiles, ("original", "decoded from tokens"), "Enlarged, pixel by pixel.")
    if not pictures.predictions:
        return
    tiles, right = [], 0
    for guess in pictures.predictions:
        hit = guess.true == guess.predicted
        right += hit
        truth = () if hit else (f"is {guess.true}",)
        caption = (guess.predicted, *truth, formats.percent(guess.confidence, 0))
        tiles.append(Tile((guess.picture,), caption, f"a picture of class {guess.true}", hit))
    page.pictures(
        f"Predictions on held-out images: {right} of {len(tiles)} right",
        tiles,
        note=f"{pictures.chosen} Below each: the token-trained classifier\u2019s first guess and how sure it was. "
        "\u2713 right; \u2717 and a frame: wrong, with the true class.",
    )


def _time(page: Page, result: DemoResult) -> None:
    page.section("Where the time went")
    parts = [Part(name, seconds, result.notes.get(name, "")) for name, seconds in result.timings.items()]
    rest = result.seconds - sum(result.timings.values())
    if rest > 0.005 * result.seconds:
        parts.append(Part("everything else", rest, "imports, opening files, drawing this page"))
    page.shares(
        "",
        parts,
        formats.duration,
        "time",
        "Wall clock on the machine below. The tokenizer came trained with the package; the rest was computed "
        "in this run.",
    )


def _bytes_shown(count: float) -> str:
    return f"{count:,.0f}" if count >= 100 else f"{count:,.1f}"
