"""What will be encoded, in which shards and batches: a function of the listing and the options alone.

Shards are cut from the listing, batches from shards, and every batch has one shape: a short one is padded, and an
image that cannot be decoded leaves its rows blank. So the arithmetic behind an id never depends on how often a
job was interrupted, how many workers ran it, or which other images are bad.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seit.errors import ImageError
from seit.images import Bad, Facts, Image, Preparation, Source, Views
from seit.store import RowTable

SHARD_ROWS = 4096
BATCH_PIXELS = 1 << 20  # 16 views of 256 pixels: more does not fill a GPU better, and padding would cost more


@dataclass(frozen=True)
class Shard:
    """Consecutive images of one split that are staged together."""

    number: int
    split: str
    images: range


@dataclass(frozen=True)
class Staged:
    """What a shard's batches gave: rows of the images that are good, and the bad ones."""

    ids: np.ndarray
    labels: np.ndarray | None
    rows: RowTable
    bad: list[Bad]


class Plan:
    """A listing cut into shards and batches.

    Args:
        images: the listing.
        how: how an image becomes views.
        options: whatever else decides what is written (tokenizer, codec, precision, ...), JSON-able.
        batch: images of a batch; by default as many as have about a million pixels.

    Attributes:
        shards: in order; none mixes splits.
        batch: images of every batch.
        hash: hex SHA-256 over names, labels, views, options and the cut; equal plans give equal stores.
    """

    def __init__(self, images: Source, how: Preparation, options: dict[str, Any], batch: int | None = None) -> None:
        self.images, self.how = images, how
        views = how.views.count
        pixels = how.shape[0] * how.shape[1] * views
        most = max(images.splits.values())
        self.batch = batch or min(max(1, BATCH_PIXELS // pixels), most)
        step = (
            max(1, SHARD_ROWS // (views * self.batch)) * self.batch
        )  # whole batches: only a split's last is padded
        self.shards = list(_cut(images, step))
        self.hash = self._hash(options)
        if images.view_labels.shape[1] not in (0, views):
            raise ImageError(
                f"gives {images.view_labels.shape[1]} labels an image, but {views} views are stored",
                images.name,
                "give a label a view",
            )

    def batches(self, shard: Shard) -> Iterator[Sequence[Image]]:
        """Yields the images of each batch of a shard."""
        for start in range(shard.images.start, shard.images.stop, self.batch):
            yield [self.images[i] for i in range(start, min(start + self.batch, shard.images.stop))]

    def staged(self, shard: Shard, ids: list[np.ndarray], found: list[Facts | Bad]) -> Staged:
        """Puts the batches of a shard together, without padding and bad images.

        Args:
            shard: which.
            ids: [batch * v, h, w] of each of its batches.
            found: what is known of each of its images.
        """
        views = self.how.views.count
        good = np.array([isinstance(one, Facts) for one in found], bool)
        facts = [one for one in found if isinstance(one, Facts)]
        rows = np.concatenate(ids)[: len(found) * views][np.repeat(good, views)]
        span = slice(shard.images.start, shard.images.stop)
        names = [name for name, whole in zip(self.images.names[span], good, strict=True) if whole]
        table = row_table(names, facts, self.how.views, np.tile(np.arange(views), (len(names), 1)))
        return Staged(rows, self._labels(span, good), table, [one for one in found if isinstance(one, Bad)])

    def _labels(self, span: slice, good: np.ndarray) -> np.ndarray | None:
        if not self.images.classes:
            return None
        if self.images.several is not None:
            return np.repeat(
                several_labels(self.images, np.arange(span.start, span.stop)[good]), self.how.views.count, 0
            )
        if self.images.view_labels.shape[1]:
            return self.images.view_labels[span][good].reshape(-1)
        return np.repeat(self.images.labels[span][good], self.how.views.count)

    def _hash(self, options: dict[str, Any]) -> str:
        images, views = self.images, self.how.views
        described = [
            [images.name, images.classes, images.split_rule, images.splits],
            [self.how.preprocessing, views.policy, views.count, views.seed, images.boxes, images.flips],
            [options, self.batch, [len(shard.images) for shard in self.shards]],
        ]
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        digest.update("\0".join(images.names).encode())
        digest.update(np.ascontiguousarray(images.labels).tobytes())
        digest.update(np.ascontiguousarray(images.view_labels).tobytes())
        digest.update(b"" if images.several is None else json.dumps(images.several).encode())
        return digest.hexdigest()


def row_table(names: list[str], facts: list[Facts], views: Views, which: np.ndarray) -> RowTable:
    """Returns the side table of some views of n images.

    Args:
        names, facts: [n] of the images.
        views: what was stored of each image.
        which: int [n, w], which of an image's views the rows show; its rows follow one another.
    """
    width, numbers = which.shape[1], np.array([one[:5] for one in facts], np.uint64).reshape(-1, 5)
    columns = np.repeat(numbers, width, axis=0).T
    table = RowTable([name for name in names for _ in range(width)], *columns)
    rows = np.arange(len(names))[:, None]
    if not views.whole:
        boxes = np.array([one.boxes for one in facts], np.int32).reshape(-1, views.count, 4)
        table.crop = boxes[rows, which].reshape(-1, 4)
    if views.policy != "plain":
        table.flip = np.array([one.flips for one in facts], bool).reshape(-1, views.count)[rows, which].reshape(-1)
    return table


def several_labels(images: Source, positions: np.ndarray) -> np.ndarray:
    """Returns which classes each of some images has, bool [n, C]."""
    labels = np.zeros((len(positions), len(images.classes)), bool)
    for row, position in enumerate(positions):
        labels[row, images.several[position]] = True  # type: ignore[index]
    return labels


def _cut(images: Source, step: int) -> Iterator[Shard]:
    number = 0
    for split, count in images.splits.items():
        whole = images.split(split)
        for start in range(0, count, step):
            yield Shard(number, split, whole[start : start + step])
            number += 1
