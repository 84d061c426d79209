"""What several folders share: small pictures, a token data set and a run made of them, and the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "stripes")


def picture(kind: str, seed: int, side: int = 40) -> Image.Image:
    """Draws a coloured shape at a random place on grey noise; classes differ in shape and colour."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(90, 130, (side, side, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    x, y = (int(v) for v in rng.integers(2, side - 26, 2))
    if kind == "circle":
        draw.ellipse((x, y, x + 22, y + 22), fill=(220, 40, 30))
    elif kind == "square":
        draw.rectangle((x, y, x + 22, y + 22), fill=(30, 200, 60))
    else:
        for row in range(y % 6, side, 6):
            draw.line((0, row, side, row), fill=(30, 60, 230), width=3)
    return image


def draw_shapes(root: Path, train: int, val: int, side: int = 40) -> Path:
    """Writes an image folder, JPEGs with a PNG among them: root/{train,val}/CLASS/NUMBER."""
    for split, count in (("train", train), ("val", val)):
        for label, kind in enumerate(CLASSES):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                ending = "png" if i == 1 else "jpg"
                seed = 10_000 * (split == "val") + 100 * label + i
                picture(kind, seed, side).save(folder / f"{i:02d}.{ending}")
    return root


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """60 training and 24 held-out pictures of 40 pixels in 3 classes. Read only."""
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "shapes", 20, 8)


@pytest.fixture(scope="session")
def tokens(shapes) -> Path:
    """The shapes as a token data set of 8 x 8 ids. Read only."""
    import seit

    out = shapes.parent / "shapes.tokens"
    seit.tokenize(shapes, out, tokenizer="patch4", size=32)
    return out


SETTINGS = {"epochs": "3", "batch_size": "20", "precision": "float32"}


@pytest.fixture(scope="session")
def run(tokens) -> Path:
    """A run of 9 steps on the shapes' tokens. Read only."""
    import seit

    out = tokens.parent / "run"
    seit.train(tokens, out, settings=SETTINGS)
    return out


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory) -> Path:
    """Four pictures in no class folder. Read only."""
    folder = tmp_path_factory.mktemp("unlabelled") / "pictures"
    folder.mkdir()
    for i in range(4):
        picture("circle", i).save(folder / f"{i}.jpg")
    return folder


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys):
    """Calls the command line in this process: cli("info", path) -> (code, out, err)."""
    import seit.cli
    import seit.progress

    shared = importlib.import_module("seit.cli.app")  # the name seit.cli.app is the application itself

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(shared, "_as_json", False)
        monkeypatch.setattr(seit.progress, "_quiet", False)
        monkeypatch.setattr(sys, "argv", ["seit", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            seit.cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return call
