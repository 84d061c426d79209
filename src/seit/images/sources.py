"""A source: the pictures of a folder, archive or embedded sample, with their splits and labels."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seit.errors import ImageError, nearest_names
from seit.images.listing import FileBytes, list_archive, list_folder
from seit.images.splits import Arrangement, arrange

# Both lie beside this file; their origin and terms are in NOTICE.
EMBEDDED = {"sample": "sample.zip", "photos": "photos"}
DATA_VARIABLE = "SEIT_DATA"


@dataclass(frozen=True, slots=True)
class Image:
    """One picture of a source, not decoded yet. It pickles, so that worker processes can read and decode it.

    Attributes:
        name: its stable key, the path inside the source, e.g. "train/cat/1.jpg".
        split: "train" or "val".
        label: position in the source's `classes`, -1 without labels.
        read: returns the bytes of its file; raises ImageError.
    """

    name: str
    split: str
    label: int
    read: Callable[[], bytes]


class Source:
    """A sequence of `Image`s, sorted by (split, name).

    Attributes:
        name: what the user opened, e.g. "sample" or the folder's path.
        classes: sorted class names; empty without labels.
        split_rule: how the held-out images were chosen: "folders", "5% of each class by a hash of the name",
            or "none: pictures without labels" (all of them are then "train").
        names: [N] the images' names.
        labels: int64 [N].
        splits: split -> number of its images, e.g. {"train": 6000, "val": 1000}.
    """

    def __init__(self, name: str, rows: Arrangement, reader: Callable[[str], Callable[[], bytes]]) -> None:
        self.name, self.classes, self.split_rule = name, rows.classes, rows.rule
        self.names: list[str] = rows.names
        self.labels: np.ndarray = rows.labels
        self.splits = {"train": rows.train, "val": len(rows.names) - rows.train}
        self._reader = reader

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        name = self.names[index]
        split = "train" if index < self.splits["train"] else "val"
        return Image(name, split, int(self.labels[index]), self._reader(name))

    def __iter__(self) -> Iterator[Image]:
        return (self[index] for index in range(len(self)))

    def split(self, split: str) -> range:
        """Returns the positions of one split, "train" or "val", or of "all"."""
        train = self.splits["train"]
        return {"train": range(train), "val": range(train, len(self)), "all": range(len(self))}[split]


def open_source(src: str | os.PathLike[str]) -> Source:
    """Lists the images of `src`; nothing is decoded yet.

    Args:
        src: a folder, an uncompressed tar or a zip, each with class folders (with or without `train` and
            `val` or `test` above them) or with pictures that have no labels; or, as a `str`, the name of an
            embedded source: "sample" (CIFAR-10 in part) or "photos" (full-size photos without labels). A
            relative path that does not exist here is looked for in the folder that SEIT_DATA names.

    Raises:
        ImageError: nothing there, no images in it, a class in one split only, a damaged archive; or the name
            of an embedded source is also a folder here.

    Example:
        >>> source = open_source("sample")
        >>> picture = decode(source[0].read(), source[0].name)
    """
    if isinstance(src, str) and src in EMBEDDED:
        if os.path.lexists(src):
            raise ImageError(
                "this is an embedded source and also exists in the current folder",
                src,
                f"write ./{src} for the one here, or run elsewhere",
            )
        path = Path(__file__).parent / EMBEDDED[src]
    else:
        path = _find(src)
    text = os.fspath(path)
    if path.is_dir():
        return Source(str(src), arrange(list_folder(text), text), functools.partial(FileBytes, text))
    members = list_archive(text)
    return Source(str(src), arrange(list(members), text, archive=True), members.__getitem__)


def _find(src: str | os.PathLike[str]) -> Path:
    """Returns where `src` exists: as written, else below SEIT_DATA."""
    if not str(src):
        raise ImageError("no source given", "SRC", "name a folder, tar or zip of images")
    path = Path(src).expanduser()
    data = os.environ.get(DATA_VARIABLE, "")
    below = Path(data).expanduser() / path
    if path.exists():
        return path
    if data and below.exists():
        return below
    tried = f" (also tried {below})" if data and not path.is_absolute() else ""
    cure = "check the path"
    if path.name == str(src):  # one word may be meant for the name of an embedded source
        cure += f", or name an embedded source: {nearest_names(str(src), EMBEDDED)}"
    raise ImageError(f"no such folder, tar or zip{tried}", str(src), cure)
