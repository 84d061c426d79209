"""One image's bytes -> its views and what is recorded of it: what decode workers do, wherever they run. No
torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xxhash
from PIL.Image import Image as Picture

from seit.errors import ImageError
from seit.images.jpeg import jpeg_payload_bytes
from seit.images.listed import Box, Image
from seit.images.view import decode, to_view
from seit.images.views import Views


class Facts(NamedTuple):
    """What a store records of an image: its file and its views."""

    bytes: int
    payload: int
    hash: int
    width: int
    height: int
    boxes: list[Box]
    flips: list[bool]


class Bad(NamedTuple):
    """An image that gave no views, and why; `hash` is XXH3-64 of its bytes, as far as they could be read."""

    name: str
    reason: str
    bytes: int
    hash: int
    cure: str


@dataclass(frozen=True)
class Preparation:
    """How images become views: the tokenizer's `preprocessing` (see `to_view`) and which views."""

    preprocessing: dict[str, Any]
    views: Views

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C] of a view."""
        size = self.preprocessing["size"]
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return height, width, self.preprocessing.get("channels", 3)


def source_hash(data: bytes) -> int:
    """Returns the 64-bit XXH3 hash of a source file's bytes, kept to notice a changed source."""
    return xxhash.xxh3_64_intdigest(data)


def prepare(images: Sequence[Image], how: Preparation, out: np.ndarray) -> list[Facts | Bad]:
    """Reads, decodes and resizes images.

    Args:
        images: n of them.
        how: their views, v each.
        out: uint8 [n * v, H, W, C], written; the rows of an image that cannot be decoded become zero.

    Returns:
        What is known of each image.
    """
    count, found = how.views.count, list[Facts | Bad]()
    for number, image in enumerate(images):
        rows, data = out[number * count : (number + 1) * count], b""
        try:
            data = image.read()
            found.append(_views(image, data, how, rows))
        except (ImageError, MemoryError) as error:
            rows[:] = 0
            found.append(bad_image(image.name, data, error))
    return found


def bad_image(name: str, data: bytes, error: ImageError | MemoryError) -> Bad:
    """Returns what is recorded of an image that cannot be read.

    Args:
        name: the image's.
        data: its bytes, as far as they could be read.
        error: why it cannot be.
    """
    if isinstance(error, MemoryError):
        error = ImageError("needs more memory than there is", name, "shrink or remove it")
    reason = error.what if error.where in ("", name) else f"{error.what} ({error.where})"
    return Bad(name, reason, len(data), source_hash(data), error.cure)


def view_of(picture: Picture, preprocessing: dict[str, Any], box: Box | None) -> np.ndarray:
    """Returns one view of a decoded picture, uint8 [H, W, C].

    Args:
        picture: upright, in the channels of the view.
        preprocessing: see `to_view`; a box meets the view's corners exactly, whatever the whole image would do.
        box: (top, left, height, width) in pixels, or None for the whole image.
    """
    if box is None:
        return to_view(picture, preprocessing)
    top, left, height, width = box
    cut = picture.crop((left, top, left + width, top + height))
    return to_view(cut, {**preprocessing, "resize": "squash"})


def _views(image: Image, data: bytes, how: Preparation, rows: np.ndarray) -> Facts:
    """Writes one image's views."""
    picture = decode(data, image.name, how.shape[2])
    boxes = how.views.boxes(image.name, *picture.size, image.boxes)
    flips = how.views.flips(image.flips)
    last, view = None, rows[:0]
    for row, box, flip in zip(rows, boxes, flips, strict=True):
        if box != last:
            last, view = box, view_of(picture, how.preprocessing, None if how.views.whole else box)
        row[:] = view[:, ::-1] if flip else view
    payload = jpeg_payload_bytes(data) if data[:2] == b"\xff\xd8" else len(data)
    return Facts(len(data), payload, source_hash(data), *picture.size, boxes, flips)
