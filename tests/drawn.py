"""Small pictures that tests draw, and how their classifier is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SETTINGS = {"epochs": "3", "batch_size": "20", "precision": "float32"}
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
