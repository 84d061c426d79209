"""Opens a source: which of folders, archives, tables and lists it is, and what its folders say of its pictures."""

from __future__ import annotations

import glob
import itertools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seit.errors import ImageError, nearest_names
from seit.images.account import OTHER, OTHER_KIND, Account
from seit.images.columns import IMAGES, LABELS, SPLITS, Choice, label_of, pick, plain, read_classes, split_of
from seit.images.listed import Listed, Source, arrange
from seit.images.listing import TABLES, Files, list_archive, list_folder
from seit.images.places import Place, is_remote, joined
from seit.images.shards import has_labels, list_shards
from seit.images.splits import FOLDER_NAMES, Tree, by_folders
from seit.images.tables import Table, list_tables

# Both lie beside this file; their origin and terms are in NOTICE.
EMBEDDED = {"sample": "sample.zip", "photos": "photos"}
DATA_VARIABLE = "SEIT_DATA"
_WITH_PICTURES = (".parquet", ".arrow")


def open_source(
    src: str | os.PathLike[str],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: str | os.PathLike[str] | None = None,
    allow_private_hosts: bool = False,
    for_training: bool = True,
    account: Account | None = None,
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
        for_training: refuse a folder in which a class or a split would be lost; otherwise take what is there.
        account: is filled in with what is read and what is left out; by default one of its own.

    Returns:
        The source, which holds the account.

    Raises:
        ImageError: nothing there, no images in it, a class or a split would be lost, a damaged archive or table; or
            the name of an embedded source is also a folder here.

    Example:
        >>> source = open_source("sample")
        >>> picture = decode(source[0].read(), source[0].name)
    """
    account = Account() if account is None else account
    choice = Choice(image_column, label_column, allow_private_hosts)
    known = read_classes(classes) if classes is not None else None
    path, files = _embedded(src) if isinstance(src, str) and src in EMBEDDED else _expanded(src)
    lower = path.lower()
    if files:
        kind = list_tables if files[0].lower().endswith(TABLES) else list_shards
        listed = kind(path, files, choice, account)
    elif os.path.isdir(path) or (is_remote(path) and not lower.endswith((".tar", ".zip", *TABLES))):
        listed = _list_tree(path, choice, account, for_training)
    elif lower.endswith(TABLES):
        listed = list_tables(posixpath.dirname(path), [posixpath.basename(path)], choice, account)
    else:
        listed = _list_archive(path, choice, account, for_training)
    if listed.by == FOLDER_NAMES and (known is not None or image_column or label_column):
        cure = "leave out --classes, --image-column and --label-column"
        raise ImageError("class folders bring their own names", str(src), cure)
    return arrange(listed, str(src), known, account)


@dataclass(frozen=True)
class _FilePlaces(Sequence):
    """The places of a folder's files, made when they are asked for."""

    root: str
    names: list[str]
    broken: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        name = self.names[index]
        if name in self.broken:
            return Place("broken", joined(self.root, name), self.broken[name])
        return Place("file", self.root, name)


def _list_tree(root: str, choice: Choice, account: Account, strict: bool) -> Listed:
    """Lists a folder: its pictures where they lie in class folders, else the tables or tars in it."""
    files = list_folder(root, account)
    tables = {name: Table(joined(root, name)) for name in files.tables if name.lower().endswith(_WITH_PICTURES)}
    inside = sorted(name for name, table in tables.items() if table.pictures)
    others = sorted({*files.tables} - {*inside})
    shards = inside or sorted(files.tars)
    if not files.names and not shards and others:
        return list_tables(root, others, choice, account)
    tree = Tree.of(files.names)
    several = tree.splits or len(tree.classes(files.names)) > 1
    if shards and (not files.names or sum(tables[name].rows for name in inside) > len(files.names)):
        listed = (list_tables if inside else list_shards)(root, shards, choice, account)
        left = {*files.names, *files.tars, *others} - {*shards}
        if not listed.by and not inside:
            left -= _join_tables(listed, root, others, choice, account)
            listed = _by_folders_inside(listed, root, account, strict)
    elif shards and not several:
        ending = posixpath.splitext(shards[0])[1]
        cure = f"name the {ending} files alone ({root}/*{ending}), or move them away"
        raise ImageError(f"holds {len(files.names):,} pictures and also {shards[0]}", root, cure)
    else:
        listed = Listed(names=sorted(files.names), files=lambda names: _FilePlaces(root, names, files.broken))
        listed.labels = [None] * len(listed.names)
        left = {*inside, *files.tars, *others}
        listed.splits = [tree.part(name)[0] or None for name in listed.names]
        labelling = set[str]()
        if len(tree.classes(files.names)) < 2:
            labelling = _join_tables(listed, root, others, choice, account)
        left -= labelling
        if not labelling:
            listed = by_folders(listed, listed.names, tree, root, account, strict, files)
    for name in sorted(left):
        account.leave(OTHER_KIND, name)
    for name, reason in files.broken.items():
        account.unread(name, reason)
    return listed


def _list_archive(path: str, choice: Choice, account: Account, strict: bool) -> Listed:
    """Lists a tar or zip: WebDataset's where it holds labels or the user names columns, else a tree of pictures."""
    folder, name = posixpath.split(path)
    members = list_archive(path, account)
    if path.lower().endswith(".tar") and (choice.image or choice.label or has_labels(members)):
        account.left_out.clear()
        return list_shards(folder, [name], choice, account)
    account.containers += 1
    files = Files()
    for member in members:
        files.add(member, account)
    for member in (*files.tars, *files.tables):
        account.leave(OTHER, member)
    listed = Listed(names=sorted(files.names))
    listed.places = [members[member] for member in listed.names]
    return by_folders(listed, listed.names, Tree.of(files.names, 1), path, account, strict, files)


def _by_folders_inside(listed: Listed, root: str, account: Account, strict: bool) -> Listed:
    """Gives pictures of tars without labels the classes that folders inside the tars name, if there are any."""
    inside = [re.split(r"\.tar/", name, maxsplit=1, flags=re.IGNORECASE)[1] for name in listed.names]
    paths = [f"{split}/{path}" if split else path for path, split in zip(inside, listed.splits, strict=True)]
    tree = Tree.of(paths)
    if listed.by or not tree.classes(paths):
        return listed
    return by_folders(listed, paths, tree, root, account, strict, Files())


def _join_tables(listed: Listed, root: str, tables: list[str], choice: Choice, account: Account) -> set[str]:
    """Takes labels and splits from tables that name the pictures; returns the tables that did.

    A table names a picture by its path from the table's folder, or by its file name, with or without the ending.
    """
    bases = [posixpath.basename(name) for name in listed.names]
    unique = len({*bases}) == len(bases)
    used = set[str]()
    for name in tables:
        table, above = Table(joined(root, name)), posixpath.dirname(name) + "/" if "/" in name else ""
        columns = [column for column in table.names if column not in table.pictures]
        label = pick(columns, choice.label, LABELS, "--label-column", table.path)
        for column in columns if label is not None else ():
            if column != choice.image and (choice.image is not None or plain(column) not in IMAGES):
                continue
            rows = {
                str(one).replace("\\", "/").removeprefix("./"): row for row, one in enumerate(table.column(column))
            }
            matching: dict[int, int] = {}
            for place, picture in enumerate(listed.names):
                path, base = picture.removeprefix(above), bases[place] if unique else picture
                keys = (path, posixpath.splitext(path)[0], base, posixpath.splitext(base)[0])
                row = next((rows[key] for key in keys if key in rows), None)
                if row is not None and picture.startswith(above):
                    matching[place] = row
            if matching:
                _take_labels(listed, table, label, matching)
                listed.by = f"column {label!r} of {name}"
                used.add(name)
                break
    account.label_files += len(used)
    return used


def _take_labels(listed: Listed, table: Table, label: str | None, matching: dict[int, int]) -> None:
    """Gives pictures the labels, and splits if it has any, of rows of a table."""
    split = pick(table.names, None, SPLITS, "", table.path)
    cells, parts, names = table.column(label), table.column(split), table.class_names(label)
    for place, row in matching.items():
        listed.labels[place] = label_of(cells[row], table.where(row, label), names)
        listed.splits[place] = split_of(parts[row], table.where(row, split)) or listed.splits[place]


def _embedded(name: str) -> tuple[str, list[str]]:
    """Returns the path of an embedded source."""
    if os.path.lexists(name):
        what, cure = (
            "this is an embedded source and also exists in the current folder",
            f"write ./{name} for that one",
        )
        raise ImageError(what, name, f"{cure}, or run elsewhere")
    return str(Path(__file__).parent / EMBEDDED[name]), []


def _expanded(src: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Returns a path that exists, and the files below it that a pattern names, or []."""
    text = os.fspath(src)
    if not text:
        raise ImageError("no source given", "SRC", "name a folder, tar or zip of images")
    if is_remote(text):
        return text, []
    if re.search(r"[*?\[{]", text) and not os.path.lexists(text):
        return _matching(text)
    return str(_find(src)), []


def _matching(pattern: str) -> tuple[str, list[str]]:
    """Returns the folder of a pattern (`*`, `?`, `{a,b}`, `{000..009}`) and the files that match."""
    found: list[str] = []
    for one in _braces(pattern):
        matches = sorted(glob.glob(one)) if re.search(r"[*?\[]", one) else [one]
        missing = next((name for name in matches if not os.path.isfile(name)), None if matches else one)
        if missing is not None:
            raise ImageError("no such file", missing, "check the pattern")
        found += matches
    kinds = {"table" if name.lower().endswith(TABLES) else posixpath.splitext(name)[1].lower() for name in found}
    if kinds not in ({"table"}, {".tar"}):
        raise ImageError("a pattern names tars or tables", pattern, "give the folder, or make a list of it")
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
