"""Pictures at several scales in memory, and random crops of them: what a tokenizer is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow

from seit.errors import TokenizerError
from seit.images import Image, decode
from seit.images.view import resized
from seit.progress import progress

_SHORT_SIDES = (32, 48, 64, 96, 128, 192, 256, 384)  # pixels, and the smallest that is asked for


class Pyramid:
    """Every picture of some sources, shrunk to a ladder of short sides (never enlarged).

    Args:
        sources: the pictures of each; each source is drawn from equally often, however many pictures it has.
        smallest: short sides below this are left out, pixels.
        channels: 1, 3 or 4, as `seit.images.decode` gives them.

    Raises:
        TokenizerError: no picture is as large as `smallest`.
    """

    def __init__(self, sources: Sequence[Sequence[Image]], smallest: int, channels: int = 3) -> None:
        self._channels = channels
        self._levels: list[dict[int, list[np.ndarray]]] = []
        with progress(sum(map(len, sources)), "read pictures", "images") as bar:
            for images in sources:
                levels: dict[int, list[np.ndarray]] = {}
                for image in images:
                    self._add(levels, decode(image.read(), image.name, channels), smallest)
                    bar.update(1)
                self._levels.append(levels)
        if not any(self._levels):
            raise TokenizerError(f"no picture is {smallest} pixels or more on both sides", cure="add larger ones")

    @staticmethod
    def _add(levels: dict[int, list[np.ndarray]], picture: Pillow.Image, smallest: int) -> None:
        """Adds one picture's ladder to `levels` (short side -> pictures [H, W, C] uint8)."""
        width, height = picture.size
        for side in sorted({smallest, *_SHORT_SIDES}):
            if smallest <= side <= min(width, height):
                scale = side / min(width, height)
                size = (max(side, round(width * scale)), max(side, round(height * scale)))
                pixels = np.asarray(resized(picture, size, Pillow.Resampling.LANCZOS, gap=3.0))
                levels.setdefault(side, []).append(pixels.reshape(*pixels.shape[:2], -1))

    def crops(self, seed: int, step: int, side: int, count: int) -> np.ndarray:
        """Returns random mirrored crops [count, side, side, C] uint8, a function of (seed, step) alone.

        Scales from `side` to four times it are drawn alike: a crop is a whole picture or a detail of one.
        """
        draw = np.random.Generator(np.random.Philox(key=[seed, step]))
        usable = [[s for s in levels if side <= s <= 4 * side] for levels in self._levels]
        sources = [k for k, sides in enumerate(usable) if sides]
        if not sources:
            raise TokenizerError(f"no picture is {side} pixels or more on both sides", cure="add larger ones")
        out = np.empty((count, side, side, self._channels), np.uint8)
        for row in range(count):
            source = sources[draw.integers(len(sources))]
            level = usable[source][draw.integers(len(usable[source]))]
            pictures = self._levels[source][level]
            picture = pictures[draw.integers(len(pictures))]
            top = draw.integers(picture.shape[0] - side + 1)
            left = draw.integers(picture.shape[1] - side + 1)
            crop = picture[top : top + side, left : left + side]
            out[row] = crop[:, ::-1] if draw.integers(2) else crop
        return out
