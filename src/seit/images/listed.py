"""What every listing that brings its own labels ends in: rows with class names and splits, whatever they lie in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seit.errors import ImageError, nearest_names
from seit.images.places import Place
from seit.images.splits import BY_HASH, TRAIN_FOLDERS, UNSPLIT, VAL_FOLDERS, Arrangement, held_out

BY_NAMES = "as the source names them"

_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(TRAIN_FOLDERS + VAL_FOLDERS)})(?![a-z])")
Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels of the upright source image."""


@dataclass
class Listed:
    """Rows as tables, WebDataset tars and lists give them, in their order.

    Attributes:
        names: distinct names.
        places: of their bytes.
        labels: class name of each; None is unknown; a list of one a view where the list gives them.
        splits: "train", "val", ... as written, or None.
        boxes: of each image's views, or empty.
        flips: whether each view is mirrored, or empty.
    """

    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    labels: list[str | list[str | None] | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    boxes: list[list[Box]] = field(default_factory=list)
    flips: list[list[bool]] = field(default_factory=list)

    def add(self, name: str, place: Place, label: str | None, split: str | None) -> None:
        """Adds one row."""
        self.names.append(name)
        self.places.append(place)
        self.labels.append(label)
        self.splits.append(split)


def split_of(path: str) -> str | None:
    """Returns the split that a shard's or table's path names (`imagenet-val-003.tar`), or None."""
    found = _SPLIT.findall(path.lower())
    return found[-1] if found else None


def read_classes(path: str | os.PathLike[str]) -> list[str]:
    """Reads class names, one a line, in label order.

    Raises:
        ImageError: the file cannot be read, or a name is there twice.
    """
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot be read ({error})", str(path), "give a text file, one class a line") from None
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice or not names:
        raise ImageError(f"names {sorted(twice)[:3]} twice" if twice else "is empty", str(path), "mend it")
    return names


def arrange_listed(
    rows: Listed, where: str, classes: list[str] | None
) -> tuple[Arrangement, np.ndarray, np.ndarray]:
    """Turns labels into class numbers and rows into splits; rows keep their order within a split.

    The first of val, valid, validation, test that occurs is held out, and other splits than that and train are left
    alone, as in folders. Where none occurs 5% of each class are held out by a hash of the name.

    Args:
        rows: as listed.
        where: what an error calls them.
        classes: class names in label order, for labels that are numbers; None sorts the names that occur.

    Returns:
        the arrangement; order int64 [N], which listed row each of its rows is; labels a view int64 [N, v] (v is 0
        where an image has one label).

    Raises:
        ImageError: no rows, a name twice, an unknown class or split, or some images have labels a view and some
            not.
    """
    if not rows.names:
        raise ImageError("no images in it", where, "check the path")
    if len(set(rows.names)) < len(rows.names):
        seen: set[str] = set()
        twice = next(name for name in rows.names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ImageError(f"lists {twice} twice", where, "keep each image once")
    wide = len(rows.labels[0]) if isinstance(rows.labels[0], list) else 0
    if any((len(label) if isinstance(label, list) else 0) != wide for label in rows.labels):
        raise ImageError("some images have other numbers of labels than the first", where, "give each as many")
    per_view = [label if isinstance(label, list) else [label] for label in rows.labels]
    found = {label for labels in per_view for label in labels if label is not None}
    numbering = _names(found, classes, where)
    labels = np.array([[numbering.get(label, -1) for label in row] for row in per_view], np.int64)  # [N, max(v, 1)]
    held = _held_out(rows.splits, where)
    rule = BY_NAMES if held else BY_HASH if found else UNSPLIT
    if held:
        val = [i for i, split in enumerate(rows.splits) if split == held]
        train = [i for i, split in enumerate(rows.splits) if split in (None, *TRAIN_FOLDERS)]
    else:
        chosen = _hashed(rows.names, labels[:, 0]) if found else set()
        val = [i for i, name in enumerate(rows.names) if name in chosen]
        train = [i for i, name in enumerate(rows.names) if name not in chosen]
    order = np.array(train + val, np.int64)
    known = classes if classes is not None else [label for label in numbering if label is not None]
    arrangement = Arrangement(
        [rows.names[i] for i in order], labels[order, 0], len(train), known if found else [], rule
    )
    return arrangement, order, labels[order] if wide else np.zeros((len(order), 0), np.int64)


def _hashed(names: list[str], labels: np.ndarray) -> set[str]:
    """Returns the names that are held out of each class."""
    by_class: dict[int, list[str]] = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        by_class.setdefault(label, []).append(name)
    return set().union(*(held_out(members) for label, members in by_class.items() if label >= 0))


def _names(found: set[str], classes: list[str] | None, where: str) -> dict[str | None, int]:
    """Returns the number of each label: of the classes given (by name or by number), else of the sorted labels."""
    if classes is None:
        numeric = all(re.fullmatch(r"\d{1,9}", label) for label in found)
        return {label: i for i, label in enumerate(sorted(found, key=int if numeric else None))}  # type: ignore[arg-type]
    numbers: dict[str | None, int] = {name: i for i, name in enumerate(classes)}
    for label in found - set(classes):
        if not re.fullmatch(r"\d{1,9}", label) or int(label) >= len(classes):
            cure = nearest_names(label, classes)
            raise ImageError(f"the label {label!r} is none of the {len(classes)} classes", where, cure)
        numbers[label] = int(label)
    return numbers


def _held_out(splits: list[str | None], where: str) -> str | None:
    """Returns which of the splits is the held-out one: the first of val, ..., test that occurs."""
    found = {split for split in splits if split}
    unknown = found - {*TRAIN_FOLDERS, *VAL_FOLDERS}
    if unknown:
        raise ImageError(f"the split {min(unknown)!r} is unknown", where, "name splits train, val or test")
    return next((name for name in VAL_FOLDERS if name in found), None)
