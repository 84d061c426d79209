"""Which views of an image a store holds: the plain resize (the paper), its mirror image, random crops, ten
crops."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

import numpy as np

from seit.errors import ImageError
from seit.images.listed import Box

POLICIES = "plain, flip, crops:N, ten-crop or listed"
MOST = 1024
SCALE, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of DeiT's random resized crop, for pixels and for ids."""
_TEN_CROP_SIDE = 224 / 256


@dataclass(frozen=True)
class Views:
    """What to store of each image: `count` views, which follow one another.

    Attributes:
        policy: "plain" (the whole image), "flip" (it and its mirror image), "crops:N" (N random resized crops: 8%
            to 100% of the area, sides 3:4 to 4:3), "ten-crop" (four corners and the centre, squares of 7/8 of the
            short side, each also mirrored), "listed" (the boxes that the source's list gives).
        count: views of an image.
        seed: of the random crops.
    """

    policy: str = "plain"
    count: int = 1
    seed: int = 0

    @classmethod
    def of(cls, policy: str, seed: int = 0, listed: int = 0) -> Views:
        """Reads a policy as the user writes it.

        Args:
            policy: see `Views`.
            seed: of random crops.
            listed: how many boxes the source gives an image.

        Raises:
            ImageError: it is unknown, or "listed" where the source gives no boxes.
        """
        counts = {"plain": 1, "flip": 2, "ten-crop": 10}
        crops = re.fullmatch(r"crops:(\d{1,4})", policy)
        if policy == "listed" and not listed:
            raise ImageError("the source lists no boxes", "--views listed", "give a .jsonl list with `boxes`")
        count = int(crops[1]) if crops else listed if policy == "listed" else counts.get(policy, 0)
        if not 1 <= count <= MOST:
            raise ImageError(f"{policy!r} is unknown, or has more than {MOST} views", "--views", f"give {POLICIES}")
        return cls(policy, count, seed if crops else 0)

    @property
    def frozen(self) -> str:
        """Which augmentations are in the store for good; training cannot draw them anew."""
        if self.policy.startswith("crops"):
            return f"{self.count} random resized crops of each image (seed {self.seed})"
        return {
            "plain": "none",
            "flip": "the mirror image",
            "ten-crop": "corner and centre crops, and their mirror images",
        }.get(self.policy, f"the {self.count} boxes that the list gives of each image")

    @property
    def whole(self) -> bool:
        """Whether every view shows the whole image, as the resize policy takes it."""
        return self.policy in ("plain", "flip")

    def boxes(self, name: str, width: int, height: int, given: tuple[Box, ...] = ()) -> list[Box]:
        """Returns the box of each view of one image; a crop depends on (seed, name, view) alone.

        Args:
            name: the image's.
            width, height: of the upright image, pixels.
            given: the boxes of the source's list.

        Raises:
            ImageError: a box of the list lies outside the image.
        """
        if self.whole:
            return [(0, 0, height, width)] * self.count
        if self.policy == "ten-crop":
            side = max(1, round(_TEN_CROP_SIDE * min(width, height)))
            low, right = height - side, width - side
            five = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
            return [(top, left, side, side) for top, left in five for _ in range(2)]
        if self.policy == "listed":
            for box in given:
                if box[0] + box[2] > height or box[1] + box[3] > width:
                    raise ImageError(
                        f"the box {list(box)} lies outside its {width} x {height} pixels", name, "mend it"
                    )
            return list(given)
        return [_drawn_box(self.seed, name, view, width, height) for view in range(self.count)]

    def flips(self, given: tuple[bool, ...] = ()) -> list[bool]:
        """Returns whether each view is mirrored left to right."""
        if self.policy == "listed":
            return list(given)
        return [self.policy in ("flip", "ten-crop") and view % 2 == 1 for view in range(self.count)]


def _drawn_box(seed: int, name: str, view: int, width: int, height: int) -> Box:
    """Draws one random resized crop of an image, by its name and view."""
    digest = hashlib.sha256(f"{seed}\0{view}\0{name}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    return random_box(rng.random(2 * TRIES + 2), height, width, SCALE, RATIO)


def random_box(
    u: np.ndarray, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """Returns the box that a random resized crop draws, by torchvision's rule.

    An area uniform in `scale`, a ratio log-uniform in `ratio`, the first try that fits; if none does, the largest
    centred box of an allowed ratio. Plain arithmetic, because the augmentations compile this very function.

    Args:
        u: uniform numbers [2 tries + 2] of one crop: areas, ratios, row, column.
        height, width: of the picture, or of the grid.
        scale: bounds of the box's share of the area.
        ratio: bounds of its width / height.
    """
    tries = len(u) // 2 - 1
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(tries):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u[attempt])
        aspect = math.exp(low + (high - low) * u[tries + attempt])
        tall, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < tall <= height and 0 < wide <= width:
            return int(u[-2] * (height - tall + 1)), int(u[-1] * (width - wide + 1)), tall, wide
    tall, wide = min(height, max(1, round(width / ratio[0]))), min(width, max(1, round(height * ratio[1])))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
