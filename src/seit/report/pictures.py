"""Pictures of a report: what a tile is, and how its pixels get into an HTML page.

Decoding files is not done here: callers hand over Pillow images or uint8 arrays.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from seit.errors import ImageError

TINY = 64
"""Pictures with no side above this many pixels are kept exact and enlarged with hard pixel edges."""

_CHANNELS = ((), (1,), (3,), (4,))

Picture = Image.Image | np.ndarray
"""A Pillow image of any mode, or an array uint8 [H, W, C] of 1, 3 or 4 channels (or [H, W])."""


@dataclass(frozen=True)
class Tile:
    """One place of a picture sheet: pictures side by side, a caption below.

    Attributes:
        pictures: one picture, or several of the same scene (original, decoded); all are drawn in the shape of
            the first, so a view that was squashed to a square lies straight beside its original.
        caption: lines below; the first is the most important.
        name: what the picture is, for those who cannot see it, e.g. its file's name.
        mark: True for right, False for wrong, None without a verdict; drawn as a sign and a word, never as a
            colour alone.
    """

    pictures: tuple[Picture, ...]
    caption: tuple[str, ...] = ()
    name: str = ""
    mark: bool | None = None


@dataclass(frozen=True)
class Embedded:
    """A picture inside a page.

    Attributes:
        uri: a `data:` address, PNG for tiny pictures and WebP for photos.
        width: pixels of the embedded picture.
        height: pixels of the embedded picture.
        tiny: whether it is to be enlarged with hard pixel edges.
    """

    uri: str
    width: int
    height: int
    tiny: bool


def as_image(picture: Picture) -> Image.Image:
    """Turns a picture of either kind into a Pillow image, mode RGB.

    Raises:
        ImageError: an array is not uint8 [H, W, C] (1, 3 or 4 channels) or [H, W], or the picture has no pixels.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in _CHANNELS:
            raise ImageError(
                f"a picture is {picture.dtype} {list(picture.shape)}",
                "report",
                "hand over uint8 [H, W, 3] or a Pillow image",
            )
        if not picture.size:
            raise ImageError("a picture has no pixels", "report", "leave it out")
        grey = picture[..., 0] if picture.shape[2:] == (1,) else picture
        picture = Image.fromarray(np.ascontiguousarray(grey))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def is_tiny(image: Image.Image) -> bool:
    """Whether a picture is so small (CIFAR's 32 pixels) that it must be enlarged to be seen."""
    return max(image.size) <= TINY


def embed(picture: Picture, max_side: int = 512) -> Embedded:
    """Puts a picture into a `data:` address, as few bytes as its kind allows.

    Tiny pictures stay exact (PNG, 1-3 kB); larger ones are shrunk to `max_side` and stored as WebP at
    quality 90, about a third of the same PNG's bytes without a visible change.

    Args:
        picture: what to embed.
        max_side: longest side, in pixels, that is kept.
    """
    image = as_image(picture)
    tiny = is_tiny(image)
    if max(image.size) > max_side:
        scale = max_side / max(image.size)
        shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if tiny:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "WEBP", quality=90, method=4)
    text = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(f"data:image/{'png' if tiny else 'webp'};base64,{text}", *image.size, tiny)
