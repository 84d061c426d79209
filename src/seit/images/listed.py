"""What every lister ends in: rows with class names and splits, which become a numbered, split source."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from seit.errors import ImageError, nearest_names
from seit.images.account import OTHER_SPLIT, Account, some
from seit.images.columns import HELD_OUT, TRAIN, Label
from seit.images.places import Place, is_remote

HELD_OUT_SHARE = 0.05
BY_NAMES = "as the source names them"
BY_HASH = "5% of each class by a hash of the name"
UNSPLIT = "none: pictures without labels"

Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels of the upright source image."""


@dataclass
class Listed:
    """Rows as folders, tables and tars give them, in their order.

    Attributes:
        by: where labels come from, e.g. "folder names"; empty without labels.
        rule: what the splits go by, where there are any.
        names: distinct names.
        places: of their bytes; empty where `files` gives them.
        labels: class of each; a list names one a view where there are boxes, and otherwise several of the image.
        splits: "train", "val", ... or None.
        keys: what decides by its hash which rows are held out; empty: the names.
        boxes: of each image's views, or empty.
        flips: whether each view is mirrored, or empty.
        files: from names to places, made when they are asked for: millions of files need no list of them.
    """

    by: str = ""
    rule: str = BY_NAMES
    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    boxes: list[list[Box]] = field(default_factory=list)
    flips: list[list[bool]] = field(default_factory=list)
    files: Callable[[list[str]], Sequence[Place]] | None = None

    def add(self, name: str, place: Place, label: Label, split: str | None) -> None:
        """Adds one row."""
        self.names.append(name)
        self.places.append(place)
        self.labels.append(label)
        self.splits.append(split)


@dataclass(frozen=True, slots=True)
class Image:
    """One picture of a source, not decoded yet. It pickles, so that worker processes can read and decode it.

    Attributes:
        name: its stable key, the path inside the source, e.g. "train/cat/1.jpg".
        split: "train" or "val".
        label: position in the source's `classes`, -1 without a label.
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


@dataclass
class Source:
    """A sequence of `Image`s: "train", then "val"; within a split by name, or as a table or list orders them.

    Attributes:
        name: what the user opened, e.g. "sample" or the folder's path.
        classes: class names in label order; empty without labels.
        split_rule: how the held-out images were chosen: "folders", "as the source names them", "5% of each class by
            a hash of the name", or "none: pictures without labels" (all of them are then "train").
        train: how many of the images, the first ones, are the training split.
        names: [N] the images' names.
        places: [N] where their bytes lie.
        labels: int64 [N], -1 without a label and where an image has several.
        several: [N] lists of the classes of each image, where the source names several; else None.
        view_labels: int64 [N, v], a label of each view where the source gives them, else [N, 0].
        boxes, flips: [N] lists of v where the source gives the views, else empty.
        account: what was listed and what was left out.
    """

    name: str
    classes: list[str]
    split_rule: str
    train: int
    names: list[str]
    places: Sequence[Place]
    labels: np.ndarray
    several: list[list[int]] | None = None
    view_labels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    boxes: list[list[Box]] = field(default_factory=list)
    flips: list[list[bool]] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    @property
    def splits(self) -> dict[str, int]:
        """Split -> number of its images, e.g. {"train": 6000, "val": 1000}."""
        return {"train": self.train, "val": len(self.names) - self.train}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        split = "train" if index < self.train else "val"
        boxes = tuple(self.boxes[index]) if self.boxes else ()
        flips = tuple(self.flips[index]) if self.flips else ()
        return Image(self.names[index], split, int(self.labels[index]), self.places[index], boxes, flips)

    def __iter__(self) -> Iterator[Image]:
        return (self[index] for index in range(len(self)))

    def split(self, split: str) -> range:
        """Returns the positions of one split, "train" or "val", or of "all"."""
        return {"train": range(self.train), "val": range(self.train, len(self)), "all": range(len(self))}[split]

    def take(self, positions: Sequence[int]) -> Source:
        """Returns a source of some of the images, in ascending order of their positions."""
        picked = np.array(sorted(positions), np.int64)
        return Source(
            self.name,
            self.classes,
            self.split_rule,
            int((picked < self.train).sum()),
            [self.names[i] for i in picked],
            [self.places[i] for i in picked],
            self.labels[picked],
            None if self.several is None else [self.several[i] for i in picked],
            self.view_labels[picked] if self.view_labels.shape[1] else np.zeros((len(picked), 0), np.int64),
            [self.boxes[i] for i in picked] if self.boxes else [],
            [self.flips[i] for i in picked] if self.flips else [],
            self.account,
        )

    def file_bytes(self) -> int | None:
        """Returns what the images take on the disk; None where they would have to be read: remote ones, tables."""
        if any(place.how not in ("file", "member", "deflated") or is_remote(place.where) for place in self.places):
            return None
        return sum(os.path.getsize(p.where) if p.how == "file" else p.stored for p in self.places)


def arrange(listed: Listed, where: str, classes: list[str] | None, account: Account) -> Source:
    """Turns labels into class numbers and rows into splits; rows keep their order within a split.

    The first of val, valid, validation, test that occurs is held out, and other splits than that and train are left
    out. Where none occurs 5% of each class are held out by a hash of the name.

    Args:
        listed: the rows.
        where: what an error calls them.
        classes: class names in label order, for labels that are numbers; None sorts the names that occur.
        account: gets the numbers of images, classes, and labels that are missing.

    Raises:
        ImageError: no rows, a name twice, an unknown class, or labels of different kinds.
    """
    if not listed.names:
        what = f"no images in it ({account.lines()[1]})" if account.left_out else "no images in it"
        raise ImageError(what, where, "give a folder, tar, zip, table or list of pictures")
    if len(set(listed.names)) < len(listed.names):
        seen: set[str] = set()
        twice = next(name for name in listed.names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ImageError(f"lists {twice} twice", where, "keep each image once")
    rows, several = _label_lists(listed, where)
    occurring = {label for row in rows for label in row if label is not None}
    numbers = _numbering(occurring, classes, where)
    first = np.array([numbers[row[0]] if row else -1 for row in rows], np.int64)
    order, train, rule = _split(listed, first, account)
    names = [listed.names[row] for row in order]
    source = Source(
        where,
        (list(classes) if classes is not None else [label for label in numbers if label]) if occurring else [],
        rule,
        train,
        names,
        listed.files(names) if listed.files else [listed.places[row] for row in order],
        np.full(len(order), -1, np.int64) if several else first[order],
        account=account,
    )
    numbered = [[numbers[label] for label in rows[row]] for row in order]
    source.several = numbered if several else None
    by_view = not several and any(isinstance(label, list) for label in listed.labels)
    source.view_labels = np.array(numbered, np.int64) if by_view else np.zeros((len(order), 0), np.int64)
    if listed.boxes:
        source.boxes, source.flips = [listed.boxes[row] for row in order], [listed.flips[row] for row in order]
    _fill(account, source, listed.by)
    return source


def _label_lists(listed: Listed, where: str) -> tuple[list[list[str | None]], bool]:
    """Returns the labels of each row as a list, and whether they are several classes of one image."""
    lists = [label for label in listed.labels if isinstance(label, list)]
    rows = [label if isinstance(label, list) else [label] for label in listed.labels]
    if listed.boxes:
        if len({*map(len, rows)}) > 1:
            raise ImageError("some images have other numbers of labels than the first", where, "give each as many")
        return rows, False
    several = any(len(label) != 1 for label in lists)
    if several and any(None in row for row in rows):
        name = next(name for name, row in zip(listed.names, rows, strict=True) if None in row)
        what = f"{name} has a label that is missing, and others have lists of labels"
        raise ImageError(what, where, "write [] for an image of no class")
    return rows, several


def _split(listed: Listed, first: np.ndarray, account: Account) -> tuple[np.ndarray, int, str]:
    """Returns the rows in the order of the splits int64 [n], how many of them are train, and the rule."""
    held = next((split for split in HELD_OUT if split in listed.splits), None)
    keys = listed.keys or listed.names
    if held is not None:
        val = [row for row, split in enumerate(listed.splits) if split == held]
        train = [row for row, split in enumerate(listed.splits) if split in (None, *TRAIN)]
        for name, split in zip(listed.names, listed.splits, strict=True):
            if split not in (None, held, *TRAIN):
                account.leave(OTHER_SPLIT, name)
        if not train:
            account.note(f"no image is left to train on: their names say {held!r}")
    else:
        by_class: dict[int, list[str]] = {}
        for key, label in zip(keys, first.tolist(), strict=True):
            by_class.setdefault(label, []).append(key)
        chosen = set().union(*(held_out(members) for label, members in by_class.items() if label >= 0))
        val = [row for row, key in enumerate(keys) if key in chosen]
        train = [row for row, key in enumerate(keys) if key not in chosen]
    rule = listed.rule if held is not None else BY_HASH if (first >= 0).any() else UNSPLIT
    return np.array(train + val, np.int64), len(train), rule


def held_out(names: list[str]) -> set[str]:
    """Chooses about 5% of one class to hold out, from the names only.

    A name whose SHA-256 lies in the lowest twentieth of its range is held out, so a picture never changes
    sides when others come or go, on any machine. Two exceptions keep both sides inhabited: of two or more
    pictures the one with the lowest hash is always held out, and the one with the highest never is. The only
    picture of a class is trained on.

    Args:
        names: distinct names of one class's pictures: class/path, without the folders above.
    """
    hashes = {name: hashlib.sha256(name.encode()).digest() for name in names}
    ordered = sorted(names, key=hashes.__getitem__)
    edge = int(HELD_OUT_SHARE * 2**64).to_bytes(8, "big")
    chosen = {name for name in ordered if hashes[name][:8] < edge} | {ordered[0]}
    return chosen - {ordered[-1]}


def _numbering(occurring: set[str], classes: list[str] | None, where: str) -> dict[str | None, int]:
    """Returns the number of each label: of the classes given (by name or by number), else of the sorted labels."""
    unknown: dict[str | None, int] = {None: -1}
    if classes is None:
        numeric = all(re.fullmatch(r"\d{1,9}", label) for label in occurring)
        ordered = sorted(occurring, key=lambda label: (int(label) if numeric else 0, label))
        return {label: number for number, label in enumerate(ordered)} | unknown
    numbers = {name: number for number, name in enumerate(classes)} | unknown
    for label in occurring - set(classes):
        if not re.fullmatch(r"\d{1,9}", label) or int(label) >= len(classes):
            cure = nearest_names(label, classes)
            raise ImageError(f"the label {label!r} is none of the {len(classes)} classes", where, cure)
        numbers[label] = int(label)
    return numbers


def _fill(account: Account, source: Source, by: str) -> None:
    """Writes into the account what became of the rows."""
    account.source, account.images, account.splits = source.name, len(source), source.splits
    account.split_rule, account.classes, account.labels = source.split_rule, len(source.classes), by
    if source.several is None and source.classes:
        missing = source.labels < 0 if not source.view_labels.shape[1] else (source.view_labels < 0).any(1)
        for row in np.flatnonzero(missing):
            account.unlabelled.add(source.names[row])
    if by and not source.classes:
        account.note(f"nothing but missing labels in {by}")
    elif not by and account.columns:
        account.note(f"no labels among {some(account.columns, 8)}: name one by --label-column")
    for name, place in zip(source.names, source.places, strict=True) if isinstance(source.places, list) else ():
        if place.how == "broken":
            account.unread(name, place.inner)
    if source.split_rule == BY_HASH:
        return
    train, val = ({*part.tolist()} - {-1} for part in np.split(source.labels, [source.train]))
    for split, alone in (("train", train - val), ("val", val - train)):
        if train and val and alone:
            account.note(f"in {split} alone: {some(sorted(source.classes[label] for label in alone))}")
