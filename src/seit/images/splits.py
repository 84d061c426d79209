"""Which class and which split each picture belongs to, from the names alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from seit.errors import ImageError

TRAIN_FOLDERS = ("train", "training")
# The first that exists is the held-out split; a test folder beside a val folder is left alone.
VAL_FOLDERS = ("val", "valid", "validation", "test")
HELD_OUT = 0.05
BY_FOLDERS = "folders"
BY_HASH = "5% of each class by a hash of the name"
UNSPLIT = "none: pictures without labels"


@dataclass(frozen=True)
class Arrangement:
    """The rows of a source, sorted by (split, name).

    Attributes:
        names: [N] paths inside the source.
        labels: int64 [N], positions in `classes`; -1 without labels.
        train: how many of the first rows are the training split; the others are the held-out split "val".
        classes: sorted class names; empty without labels.
        rule: how the split was made, as recorded in every token data set.
    """

    names: list[str]
    labels: np.ndarray
    train: int
    classes: list[str]
    rule: str


def arrange(names: list[str], where: str, archive: bool = False) -> Arrangement:
    """Finds splits and classes in the pictures' paths.

    A `train` folder beside a `val` (or `valid`, `validation`, `test`) folder gives the splits; one of the two
    alone is the whole source, and of class folders without a held-out folder 5% of each class are held out
    (`held_out`). Below that, a picture's first folder is its class. Pictures in no class folder have no
    label, and then all of them must have none. A folder that wraps the whole source is passed by.

    Args:
        names: paths inside the source with forward slashes, in any order.
        where: what an error calls the source.
        archive: a lone folder around all pictures, without folders inside, is how an archive of a flat folder
            looks; in a folder it is a class.

    Raises:
        ImageError: no pictures; a class in one split only; labelled and unlabelled pictures mixed.
    """
    if not names:
        raise ImageError("no images in it", where, "give a folder, tar or zip of pictures")
    prefix, top = _unwrap(names, 1 if archive else 2)
    if top.keys() - {*TRAIN_FOLDERS, *VAL_FOLDERS} and _one_folder_deep(names, prefix):
        top = {}  # class folders, one of which is called `train`, as in CIFAR-100
    train_folder = next((top[name] for name in TRAIN_FOLDERS if name in top), None)
    val_folder = next((top[name] for name in VAL_FOLDERS if name in top), None)
    if train_folder is None and val_folder is None:
        train, val = _below(names, prefix), []
    else:
        train = _below(names, f"{prefix}{train_folder}/") if train_folder else []
        val = _below(names, f"{prefix}{val_folder}/") if val_folder else []
    class_of = {name: _class_of(rest) for name, rest in train + val}
    _check_all_or_none(class_of, where)
    rule = BY_FOLDERS
    if not val and not any(class_of.values()):
        rule = UNSPLIT
    elif not val:
        rule = BY_HASH
        train, val = _split_by_hash(train, class_of)
    elif train:
        _check_classes_agree(train, val, class_of, where)
    classes = sorted(set(class_of.values()) - {""})
    position = {name: index for index, name in enumerate(classes)} | {"": -1}
    ordered = sorted(name for name, _ in train) + sorted(name for name, _ in val)
    labels = np.fromiter((position[class_of[name]] for name in ordered), np.int64, len(ordered))
    return Arrangement(ordered, labels, len(train), classes, rule)


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
    edge = int(HELD_OUT * 2**64).to_bytes(8, "big")
    chosen = {name for name in ordered if hashes[name][:8] < edge} | {ordered[0]}
    return chosen - {ordered[-1]}


def _unwrap(names: list[str], inside: int) -> tuple[str, dict[str, str]]:
    """Returns the prefix of the folders that wrap everything, and the folders below by lower-case name.

    A wrapper has at least `inside` path parts below it: 2 are a class folder and a picture.
    """
    prefix, depth = "", 0
    while True:
        rests = ((name, name.find("/", len(prefix))) for name in names)
        folders = {name[len(prefix) : end] for name, end in rests if end >= 0}
        top = {folder.lower(): folder for folder in sorted(folders, reverse=True)}
        alone = len(folders) == 1 and all(name.count("/") >= depth + inside for name in names)
        if not alone or top.keys() & {*TRAIN_FOLDERS, *VAL_FOLDERS}:
            return prefix, top
        prefix, depth = prefix + folders.pop() + "/", depth + 1


def _one_folder_deep(names: list[str], prefix: str) -> bool:
    """Says whether every picture lies in a folder right below the prefix."""
    slashes = prefix.count("/") + 1
    return all(name.count("/") == slashes for name in names)


def _below(names: list[str], prefix: str) -> list[tuple[str, str]]:
    """Returns (name, name without the prefix) of the names that start with it."""
    return [(name, name[len(prefix) :]) for name in names if name.startswith(prefix)]


def _class_of(rest: str) -> str:
    """Returns the first folder, or "" for a picture in none."""
    folder, slash, _ = rest.partition("/")
    return folder if slash else ""


def _split_by_hash(
    rows: list[tuple[str, str]], class_of: dict[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Holds out a part of each class."""
    by_class: dict[str, list[str]] = {}
    for name, rest in rows:
        by_class.setdefault(class_of[name], []).append(rest)
    chosen = set().union(*(held_out(members) for members in by_class.values()))
    return [row for row in rows if row[1] not in chosen], [row for row in rows if row[1] in chosen]


def _check_all_or_none(class_of: dict[str, str], where: str) -> None:
    """Refuses pictures beside class folders: they have no label, and leaving them out would be a guess."""
    stray = [name for name, label in class_of.items() if not label]
    if stray and len(stray) < len(class_of):
        raise ImageError(
            f"{len(stray)} pictures lie beside class folders, e.g. {min(stray)}",
            where,
            "move them into a class folder or away",
        )


def _check_classes_agree(
    train: list[tuple[str, str]], val: list[tuple[str, str]], class_of: dict[str, str], where: str
) -> None:
    """Refuses a class that only one of the two splits has."""
    in_train, in_val = ({class_of[name] for name, _ in rows} for rows in (train, val))
    for only, here, there in ((in_train - in_val, "train", "val"), (in_val - in_train, "val", "train")):
        if only:
            listed = ", ".join(sorted(only)[:3]) + (f" and {len(only) - 3} more" if len(only) > 3 else "")
            raise ImageError(
                f"class {listed}: images in {here} but none in {there}",
                where,
                f"add images to {there}, or remove the class from {here}",
            )
