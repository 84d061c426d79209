"""Which class and which split each picture belongs to, from the folders above it alone."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from seit.errors import ImageError
from seit.images.account import BESIDE, OTHER_SPLIT, UNDECODABLE, UNSORTED, Account, some
from seit.images.columns import HELD_OUT, TRAIN
from seit.images.listed import Listed
from seit.images.listing import Files

BY_FOLDERS = "folders"
FOLDER_NAMES = "folder names"


@dataclass(frozen=True)
class Tree:
    """What the folders above pictures are: wrappers of everything, splits, classes.

    Attributes:
        prefix: of the folders that wrap everything.
        splits: whether the folders below are splits such as train and val.
    """

    prefix: str
    splits: bool

    @classmethod
    def of(cls, paths: Sequence[str], inside: int = 2) -> Tree:
        """Reads some paths of pictures.

        Args:
            paths: with forward slashes, in any order.
            inside: path parts that a wrapper has at least below it: 2 are a class folder and a picture; 1 lets a
                lone folder around all pictures be one, which is how an archive of a flat folder looks.
        """
        prefix = ""
        while True:
            rests = [path[len(prefix) :] for path in paths if path.startswith(prefix)]
            deeper = [rest for rest in rests if "/" in rest]
            folders = {rest.partition("/")[0] for rest in deeper}
            if any(folder.lower() in TRAIN + HELD_OUT for folder in folders):
                named_so = any(folder.lower() not in TRAIN + HELD_OUT for folder in folders)
                # Classes may be called `train`, as one of CIFAR-100 is.
                return cls(prefix, not (named_so and all(rest.count("/") == 1 for rest in deeper)))
            shallow = len(rests) - sum(rest.count("/") >= inside for rest in deeper)
            if len(folders) != 1 or 5 * shallow > len(rests):  # a few stray pictures do not make it a class folder
                return cls(prefix, False)
            prefix += folders.pop() + "/"

    def part(self, path: str) -> tuple[str | None, str | None, str]:
        """Returns a picture's split ("" beside the split folders), its class, and its path below the split."""
        if not path.startswith(self.prefix):
            return ("" if self.splits else None), None, path
        rest, split = path[len(self.prefix) :], None
        if self.splits:
            split, slash, below = rest.partition("/")
            split, rest = (split.lower(), below) if slash and split.lower() in TRAIN + HELD_OUT else ("", rest)
        folder, slash, _ = rest.partition("/")
        return split, unicodedata.normalize("NFC", folder) if slash and split != "" else None, rest

    def classes(self, paths: Sequence[str]) -> set[str]:
        """Returns the classes that folders name."""
        return {label for _, label, _ in map(self.part, paths) if label is not None}


def by_folders(
    listed: Listed, paths: list[str], tree: Tree, where: str, account: Account, strict: bool, files: Files
) -> Listed:
    """Gives pictures the classes and splits that their folders name; pictures in no class folder are left out.

    Args:
        listed: names, and places or files.
        paths: of the pictures, as folders are read from them.
        tree: of these paths.
        where: what an error calls the source.
        account: gets what is left out.
        strict: refuse what loses a class or a split.
        files: of the source, for what of it is not decoded.

    Raises:
        ImageError: see `strict`.
    """
    parts = [tree.part(path) for path in paths]
    held = next((split for split in HELD_OUT if any(part[0] == split for part in parts)), None)
    rows = [row for row, (split, _, _) in enumerate(parts) if split in (None, held, *TRAIN)]
    for row in sorted({*range(len(parts))} - {*rows}):
        account.leave(BESIDE if parts[row][0] == "" else OTHER_SPLIT, paths[row])
    sorted_in = [row for row in rows if parts[row][1] is not None]
    if sorted_in and len(sorted_in) < len(rows):
        unsorted = [row for row in rows if parts[row][1] is None]
        if strict:
            _check_unsorted([(paths[row], *parts[row][:2]) for row in rows], where)
        for row in unsorted:
            account.leave(UNSORTED, paths[row])
        rows = sorted_in
    folders = {parts[row][2].partition("/")[0] for row in sorted_in}
    forms = Counter(unicodedata.normalize("NFC", folder) for folder in folders)
    if twice := sorted(name for name, count in forms.items() if count > 1):
        account.note(f"folders of one name in two Unicode forms are one class: {some(twice)}")
    if strict:
        _check_classes({parts[row][:2] for row in rows}, held, where)
        _check_undecodable({parts[row][:2] for row in rows}, tree, held, files, where, account)
    return Listed(
        by=FOLDER_NAMES if sorted_in else "",
        rule=BY_FOLDERS,
        names=[listed.names[row] for row in rows],
        places=[listed.places[row] for row in rows] if listed.places else [],
        labels=[parts[row][1] for row in rows],
        splits=[parts[row][0] for row in rows],
        keys=[parts[row][2] for row in rows],
        files=listed.files,
    )


def _check_unsorted(rows: list[tuple[str, str | None, str | None]], where: str) -> None:
    """Refuses pictures beside class folders where leaving them out would lose a split or be a bad guess."""
    unsorted = [path for path, _, label in rows if label is None]
    classes = {label for _, _, label in rows} - {None}
    lost = sorted(
        {str(split) for _, split, _ in rows} - {str(split) for _, split, label in rows if label is not None}
    )
    if lost:
        what = f"{lost[0]} holds {len(unsorted)} pictures in no class folder, the other split has class folders"
        raise ImageError(what, where, f"sort them into class folders, or move {lost[0]} away")
    if 2 * len(unsorted) > len(rows) or len(classes) == 1:
        what = f"{len(unsorted)} pictures lie beside class folders, e.g. {min(unsorted)}"
        raise ImageError(what, where, "move them into a class folder or away")


def _check_classes(present: set[tuple[str | None, str | None]], held: str | None, where: str) -> None:
    """Refuses a class that only one of the two splits has."""
    in_val = {label for split, label in present if split == held} if held else set()
    in_train = {label for split, label in present if split != held}
    for alone, here, there in ((in_train - in_val, "train", "val"), (in_val - in_train, "val", "train")):
        if alone and in_val and in_train:
            what = f"class {some(sorted(map(str, alone)))}: images in {here} but none in {there}"
            raise ImageError(what, where, f"add images to {there}, or remove the class from {here}")


def _check_undecodable(
    present: set[tuple[str | None, str | None]],
    tree: Tree,
    held: str | None,
    files: Files,
    where: str,
    account: Account,
) -> None:
    """Refuses a class folder or a split all of whose pictures are of an ending that is not decoded here."""
    for folder, count in sorted(files.undecodable.items()):
        split, label, _ = tree.part(f"{folder}/")
        of_another = split == "" or (held is not None and split not in (None, held, *TRAIN))
        if of_another or (label is None and split is None) or (split, label) in present:
            continue
        if label is None and split in {one for one, _ in present}:
            continue
        endings = some([*account.left_out[UNDECODABLE].endings])
        raise ImageError(
            f"{folder}: none of its {count} pictures is decoded here ({endings})",
            where,
            "convert them, to JPEG say, or move the folder away",
        )
