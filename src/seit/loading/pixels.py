"""Images as rows, for the pixel run that a token run is compared with."""

from __future__ import annotations

import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image as Pillow

from seit.errors import ImageError, RunError
from seit.images import Source, Views, decode, view_of
from seit.images.listed import Box
from seit.images.places import Place, is_remote
from seit.store.row_sequence import Rows, hashed

_KEPT_BYTES = 4 << 30


class PixelRows(Rows):
    """The views of one split of a source, as many and in the order as a token data set of it holds them.

    A row is one view of one image: the whole image, or one of the boxes that the source lists, mirrored or not.
    A view is decoded when it is first asked for, and kept if all of them fit in 4 GiB.

    Args:
        source: the images.
        split: "train", "val" or "all".
        preprocessing: how an image becomes a view (see `seit.images.to_view`).
        classes: the class order that labels count in, where it is not the source's own; joined by name.
        only: give rows of other classes than `classes` the label -1, instead of refusing them.

    Raises:
        RunError: the source has no labels, several an image, or a class that `classes` lacks.
        ImageError: it gives another number of labels than of views.
    """

    label_kind = "class"

    def __init__(
        self,
        source: Source,
        split: str,
        preprocessing: dict[str, Any],
        classes: list[str] | None = None,
        only: bool = False,
    ) -> None:
        if not source.classes:
            raise RunError("has no labels", source.name, "give images that lie in class folders")
        if source.several is not None:
            cure = "tokenize the images and train on their ids"
            raise RunError("names several classes an image, and pixel rows take one", source.name, cure)
        self._source, self._preprocessing = source, preprocessing
        self.classes = source.classes if classes is None else classes
        self.views = len(source.boxes[0]) if source.boxes else 1
        self._policy = Views("listed" if source.boxes else "plain", self.views)
        labels = source.view_labels if source.view_labels.shape[1] else source.labels[:, None]
        if labels.shape[1] not in (1, self.views):
            raise ImageError(
                f"gives {labels.shape[1]} labels an image and {self.views} views", source.name, "give as many"
            )
        self._images = source.split(split)
        labels = labels[self._images.start : self._images.stop].repeat(self.views // labels.shape[1], 1)
        number = joined(source.classes, self.classes, source.name, only)
        self._labels = np.append(number, -1)[labels.reshape(-1)]  # -1: an image without a label
        size = preprocessing["size"]
        self.grid = (size, size) if isinstance(size, int) else (size[0], size[1])
        shape = (len(self), *self.grid, 3)
        self._kept = np.empty(shape, np.uint8) if np.prod(shape) <= _KEPT_BYTES else None
        self._is_kept = np.zeros(len(self), bool)

    def __getstate__(self) -> dict[str, Any]:
        left = ("_pool", "_kept", "_is_kept")  # a loader's worker process needs none of the decoded views
        return {name: value for name, value in self.__dict__.items() if name not in left} | {"_kept": None}

    def __len__(self) -> int:
        return len(self._labels)

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor()

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels uint8 [n, 3, H, W] and labels int64 [n].

        Raises:
            ImageError: a file cannot be read.
        """
        rows = self.checked(indices)
        if self._kept is None:
            views = np.empty((len(rows), *self.grid, 3), np.uint8)
            for place, view in enumerate(self._pool.map(self._view, rows)):
                views[place] = view
        else:
            missing = np.unique(rows[~self._is_kept[rows]])
            for row, view in zip(missing, self._pool.map(self._view, missing), strict=True):
                self._kept[row] = view
                self._is_kept[row] = True
            views = self._kept[rows]
        return views.transpose(0, 3, 1, 2), self._labels[rows]

    def labels_at(self, indices: Any) -> np.ndarray:
        return self._labels[self.checked(indices)]

    def names(self, indices: Any) -> list[str]:
        return [self._source.names[self._images[row // self.views]] for row in self.checked(indices)]

    def bytes_at(self, indices: Any) -> np.ndarray:
        """Returns what each of the given rows takes, bytes, float64 [n]: its image's file, shared by its views."""
        images, where = np.unique(self.checked(indices) // self.views, return_inverse=True)
        sizes = np.array([_stored(self._source.places[self._images[image]]) for image in images], np.float64)
        return sizes[where] / self.views

    def fingerprint(self) -> str:
        of_images = [self._source.names[image] for image in self._images]
        boxes = [self._source.boxes[image] for image in self._images] if self._source.boxes else []
        flips = [self._source.flips[image] for image in self._images] if self._source.flips else []
        described = json.dumps([of_images, self._preprocessing, self.classes, boxes, flips])
        return hashed("pixels", described, self._labels.tobytes())

    def picture(self, row: int) -> Pillow.Image:
        """Returns a row's picture at its file's own resolution, RGB: cut to its box and mirrored where listed so.

        Raises:
            ImageError: the file cannot be read, or the box lies outside the picture.
        """
        picture, box, flip = self._opened(row)
        if not self._policy.whole:
            top, left, height, width = box
            picture = picture.crop((left, top, left + width, top + height))
        return picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT) if flip else picture

    def _view(self, row: int) -> np.ndarray:
        """Returns a row's view uint8 [H, W, 3]."""
        picture, box, flip = self._opened(row)
        view = view_of(picture, self._preprocessing, None if self._policy.whole else box)
        return view[:, ::-1] if flip else view

    def _opened(self, row: int) -> tuple[Pillow.Image, Box, bool]:
        """Returns a row's picture, upright, with the box and the flip of its view."""
        number, view = divmod(int(row), self.views)
        image = self._source[self._images[number]]
        picture = decode(image.read(), image.name)
        boxes = self._policy.boxes(image.name, *picture.size, image.boxes)
        return picture, boxes[view], self._policy.flips(image.flips)[view]


def _stored(place: Place) -> int:
    """Returns what an image takes where it lies, bytes; it is read where only that tells."""
    if place.how == "file" and not is_remote(place.where):
        return os.path.getsize(place.where)
    return place.stored if place.how in ("member", "deflated") else len(place())


def joined(classes: list[str], known: list[str], where: str, only: bool = False) -> np.ndarray:
    """Returns the position in `known` of each of `classes`, by name: int64 [len(classes)], -1 for none.

    Args:
        classes: those of the rows.
        known: those of the classifier.
        where: the rows' place, for the error.
        only: let `known` be a part of them.

    Raises:
        RunError: `known` lacks one, and not `only`.
    """
    unknown = sorted(set(classes) - set(known))
    if unknown and not only:
        raise RunError(
            f"holds classes that the classifier does not know: {', '.join(unknown[:5])}", where, "leave them out"
        )
    place = {name: position for position, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in classes], np.int64)
