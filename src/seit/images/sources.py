"""A source: the pictures of a folder, archive, table, list or embedded sample, with their splits and labels."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seit.errors import ImageError, nearest_names
from seit.images import lists, tables
from seit.images.listed import Box, Listed, arrange_listed, read_classes
from seit.images.listing import list_archive, list_folder
from seit.images.places import Place, in_folder, is_remote
from seit.images.shards import has_labels, list_shards
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
        boxes: (top, left, height, width) of the views that a list gives, or ().
        flips: whether each of these is mirrored, or ().
    """

    name: str
    split: str
    label: int
    read: Callable[[], bytes]
    boxes: tuple[Box, ...] = ()
    flips: tuple[bool, ...] = ()


class Source:
    """A sequence of `Image`s: "train", then "val"; within a split by name, or as a table or list orders them.

    Attributes:
        name: what the user opened, e.g. "sample" or the folder's path.
        classes: class names in label order; empty without labels.
        split_rule: how the held-out images were chosen: "folders", "as the source names them", "5% of each class by
            a hash of the name", or "none: pictures without labels" (all of them are then "train").
        names: [N] the images' names.
        labels: int64 [N].
        view_labels: int64 [N, v], a label of each view where the source gives them, else [N, 0].
        boxes, flips: [N] lists of v where the source gives the views, else empty.
        places: [N] where their bytes lie.
        splits: split -> number of its images, e.g. {"train": 6000, "val": 1000}.
    """

    def __init__(self, name: str, rows: Arrangement, places: Sequence[Place]) -> None:
        self.name, self.classes, self.split_rule = name, rows.classes, rows.rule
        self.names: list[str] = rows.names
        self.labels: np.ndarray = rows.labels
        self.splits = {"train": rows.train, "val": len(rows.names) - rows.train}
        self.places = places
        self.view_labels = np.zeros((len(rows.names), 0), np.int64)
        self.boxes: list[list[Box]] = []
        self.flips: list[list[bool]] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        split = "train" if index < self.splits["train"] else "val"
        boxes = tuple(self.boxes[index]) if self.boxes else ()
        flips = tuple(self.flips[index]) if self.flips else ()
        return Image(self.names[index], split, int(self.labels[index]), self.places[index], boxes, flips)

    def __iter__(self) -> Iterator[Image]:
        return (self[index] for index in range(len(self)))

    def split(self, split: str) -> range:
        """Returns the positions of one split, "train" or "val", or of "all"."""
        train = self.splits["train"]
        return {"train": range(train), "val": range(train, len(self)), "all": range(len(self))}[split]

    def file_bytes(self) -> int | None:
        """Returns what the images take on the disk; None where they would have to be read: remote ones, tables."""
        if any(place.how not in ("file", "member", "deflated") or is_remote(place.where) for place in self.places):
            return None
        return sum(os.path.getsize(p.where) if p.how == "file" else p.stored for p in self.places)


@dataclass(frozen=True)
class _Files(Sequence):
    """The places of a folder's files, made when they are asked for."""

    root: str
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        return in_folder(self.root, self.names[index])


def open_source(
    src: str | os.PathLike[str],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: str | os.PathLike[str] | None = None,
    allow_private_hosts: bool = False,
) -> Source:
    """Lists the images of `src`; nothing is decoded yet.

    Args:
        src: a folder, an uncompressed tar or a zip, each with class folders (with or without `train` and
            `val` or `test` above them) or with pictures that have no labels; WebDataset tars, Parquet files or a
            folder of them, or a folder of Hugging Face `datasets` (several files by a pattern such as
            `train-{000..009}.tar` or `data/*.parquet`); a .csv, .tsv or .jsonl list of paths or http(s) URLs; any
            of these but patterns behind a URL that fsspec opens (`s3://...`); or, as a `str`, the name of an
            embedded source: "sample" (CIFAR-10 in part) or "photos" (full-size photos without labels). A relative
            path that does not exist here is looked for in the folder that SEIT_DATA names.
        image_column, label_column: which column, WebDataset ending or JSON key holds images and class.
        classes: a text file of class names in label order, one a line, for labels that are numbers.
        allow_private_hosts: whether URLs of a list may lead into private networks.

    Raises:
        ImageError: nothing there, no images in it, a class in one split only, a damaged archive; or the name
            of an embedded source is also a folder here.

    Example:
        >>> source = open_source("sample")
        >>> picture = decode(source[0].read(), source[0].name)
    """
    if isinstance(src, str) and src in EMBEDDED:
        return _embedded(src)
    text, files = _expanded(src)
    known = read_classes(classes) if classes is not None else None
    columns = image_column, label_column
    listed: Listed | None = None
    if not files and text.endswith(lists.ENDINGS):
        listed = lists.list_file(text, *columns, allow_private_hosts)
    elif files and all(name.endswith(tables.ENDINGS) for name in files):
        listed = tables.list_tables(text, files, *columns)
    elif files:
        listed = list_shards(text, files, *columns)
    elif text.endswith(".tar") and (label_column or image_column or has_labels(text)):
        root, _, name = text.rpartition("/")
        listed = list_shards(root or ".", [name], *columns)
    if listed is not None:
        return _of_listed(str(src), listed, known)
    if known is not None or any(columns):
        cure = "leave out --classes, --image-column and --label-column"
        raise ImageError("class folders bring their own names", str(src), cure)
    if (is_remote(text) and not text.endswith((".tar", ".zip"))) or os.path.isdir(text):
        rows = arrange(list_folder(text), text)
        return Source(str(src), rows, _Files(text, rows.names))
    return _archive(str(src), text)


def _embedded(name: str) -> Source:
    if os.path.lexists(name):
        raise ImageError(
            "this is an embedded source and also exists in the current folder",
            name,
            f"write ./{name} for the one here, or run elsewhere",
        )
    path = str(Path(__file__).parent / EMBEDDED[name])
    if path.endswith(".zip"):
        return _archive(name, path)
    rows = arrange(list_folder(path), path)
    return Source(name, rows, _Files(path, rows.names))


def _archive(name: str, path: str) -> Source:
    members = list_archive(path)
    rows = arrange(list(members), path, archive=True)
    return Source(name, rows, [members[inner] for inner in rows.names])


def _of_listed(name: str, listed: Listed, classes: list[str] | None) -> Source:
    rows, order, view_labels = arrange_listed(listed, name, classes)
    source = Source(name, rows, [listed.places[i] for i in order])
    source.view_labels = view_labels
    if listed.boxes:
        source.boxes, source.flips = [listed.boxes[i] for i in order], [listed.flips[i] for i in order]
    return source


def _expanded(src: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Returns a path that exists, and the tables or tars below it that make the source together, or []."""
    text = os.fspath(src)
    if not text:
        raise ImageError("no source given", "SRC", "name a folder, tar or zip of images")
    if is_remote(text):
        folder, _, name = text.rpartition("/")
        return (folder, [name]) if name.endswith(tables.ENDINGS) else (text, [])
    if re.search(r"[*?\[{]", text) and not os.path.lexists(text):
        return _matching(text)
    path = str(_find(src))
    if path.endswith(tables.ENDINGS):
        return os.path.dirname(path) or ".", [os.path.basename(path)]
    if not os.path.isdir(path):
        return path, []
    found = tables.tables_below(path)
    tars = sorted(name for name in os.listdir(path) if name.endswith(".tar"))
    return path, found or tars


def _matching(pattern: str) -> tuple[str, list[str]]:
    """Returns the folder of a pattern (`*`, `?`, `{a,b}`, `{000..009}`) and the files that match."""
    found: list[str] = []
    for one in _braces(pattern):
        matches = sorted(glob.glob(one)) if re.search(r"[*?\[]", one) else [one]
        missing = next((name for name in matches if not os.path.isfile(name)), None if matches else one)
        if missing is not None:
            raise ImageError("no such file", missing, "check the pattern")
        found += matches
    if not all(name.endswith((".tar", *tables.ENDINGS)) for name in found):
        raise ImageError("a pattern names tars or Parquet files", pattern, "give the folder, or make a list of it")
    root = os.path.commonpath([os.path.dirname(os.path.abspath(name)) for name in found])
    return root, [os.path.relpath(name, root).replace(os.sep, "/") for name in dict.fromkeys(found)]


def _braces(pattern: str) -> Iterator[str]:
    """Yields what a shell makes of braces: `{a,b}` and `{00..12}`, zeros kept."""
    parts: list[list[str]] = []
    for part in re.split(r"(\{[^{}]*\})", pattern):
        numbers = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
        if numbers:
            first, last = numbers.groups()
            if int(last) - int(first) > 1_000_000:
                raise ImageError("names more than a million files", pattern, "check the pattern")
            parts.append([str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)])
        elif part.startswith("{") and part.endswith("}"):
            parts.append(part[1:-1].split(","))
        else:
            parts.append([part])
    return map("".join, itertools.product(*parts))


def _find(src: str | os.PathLike[str]) -> Path:
    """Returns where `src` exists: as written, else below SEIT_DATA."""
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
