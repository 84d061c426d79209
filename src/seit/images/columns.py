"""One rule for tables, tars and lists: which column holds images, which labels, and which class a cell names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from seit.errors import ImageError, nearest_names
from seit.images.places import opened

# Without blanks, underlines and capitals; the first that occurs is taken.
# fmt: off
IMAGES = (
    "image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "path", "url", "file", "filename",
    "filepath", "imagepath", "imgpath", "imageurl", "imgurl", "imagefile", "imagename", "imagefilename", "imageid",
    "uri", "key",
)
LABELS = (
    "label", "labels", "class", "classname", "classlabel", "labelname", "category", "categoryname", "target", "cls",
    "finelabel", "classid", "labelid", "classindex", "labelindex", "classidx", "labelidx", "categoryid", "species",
    "breed", "diagnosis",
)
# fmt: on
SPLITS = ("split",)
TRAIN = ("train", "training")
# The first that occurs is held out; a test split beside a val split is left alone.
HELD_OUT = ("val", "valid", "validation", "test")

Label = str | list[str | None] | None
"""The name of an image's class, a list of several, or None where it is unknown."""

# What pandas reads as missing, as far as no class is called so.
_MISSING = {"", "nan", "NaN", "NAN", "NA", "<NA>", "N/A", "#N/A", "n/a", "null", "NULL", "None"}
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_FRACTION = re.compile(r"[+-]?(\d*\.\d+([eE][+-]?\d+)?|\d+\.?[eE]-\d+)")
_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(TRAIN + HELD_OUT)})(?![a-z])")


@dataclass(frozen=True)
class Choice:
    """What the user said of a source's columns.

    Attributes:
        image, label: names of columns, WebDataset endings or JSON keys; None takes the usual ones.
        private: URLs may lead into private networks.
    """

    image: str | None = None
    label: str | None = None
    private: bool = False


def pick(names: Sequence[str], asked: str | None, usual: Iterable[str], option: str, where: str) -> str | None:
    """Returns the column that the user named, else the first of the usual ones, else None.

    Args:
        names: of the columns there are.
        asked: what the user named; capitals, blanks and underlines need not agree.
        usual: names as `IMAGES` has them.
        option: by which the user names a column.
        where: what an error calls the table.

    Raises:
        ImageError: there is no column as asked.
    """
    by_plain = {plain(name): name for name in reversed(names)}
    if asked is None:
        return next((by_plain[name] for name in usual if name in by_plain), None)
    if asked in names or plain(asked) in by_plain:
        return asked if asked in names else by_plain[plain(asked)]
    raise ImageError(f"has no column {asked!r}", where, f"give {option}; {nearest_names(asked, names)}")


def plain(name: str) -> str:
    """Returns a column's name without capitals, blanks and underlines, as names are compared."""
    return re.sub(r"[\W_]+", "", name.lower())


def label_of(cell: Any, where: str, names: Sequence[str] | None = None) -> Label:
    """Returns the class that a cell names.

    Missing (null, NaN, empty, -1) is unknown; whole floats are integers; text is stripped and brought to one
    Unicode form (NFC), so that names that look alike are alike; a list names several classes.

    Args:
        cell: of a table, or the text of a member or file.
        where: table, row and column, for the error.
        names: of the classes that numbers stand for.

    Raises:
        ImageError: it is a fraction, a negative number, bytes that are no text, a structure, or has no name.
    """
    if isinstance(cell, list | tuple):
        return [_scalar(one, where, names) for one in cell]
    return _scalar(cell, where, names)


def _scalar(cell: Any, where: str, names: Sequence[str] | None) -> str | None:
    if isinstance(cell, bytes):
        try:
            cell = cell.decode()
        except UnicodeDecodeError:
            raise _no_class(cell, where) from None
    if cell is None or cell != cell:  # NaN
        return None
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if not isinstance(cell, str | int):
        raise _no_class(cell, where)
    text = unicodedata.normalize("NFC", str(cell)).strip()
    if whole := _WHOLE.fullmatch(text):
        text = str(int(whole[1]))
    if text in _MISSING or text == "-1":  # how `datasets` writes an unknown class
        return None
    if _FRACTION.fullmatch(text) or re.fullmatch(r"-\d+", text):
        raise _no_class(text, where)
    if names is None or isinstance(cell, str):
        return text
    if int(text) >= len(names):
        raise ImageError(f"the label {text} has no name among {len(names)}", where, "write the table again")
    return unicodedata.normalize("NFC", names[int(text)])


def _no_class(cell: Any, where: str) -> ImageError:
    text = f"{cell!r:.60}"
    return ImageError(f"{text} is not a class", where, "write a name or a number from 0 on, or give --label-column")


def split_of(cell: Any, where: str) -> str | None:
    """Returns the split that a cell names, in small letters.

    Raises:
        ImageError: there is no such split.
    """
    text = str(cell).strip().lower() if cell is not None and cell == cell else ""
    if text and text not in TRAIN + HELD_OUT:
        raise ImageError(f"the split {str(cell)!r} is unknown", where, "name splits train, val or test")
    return text or None


def split_of_path(path: str) -> str | None:
    """Returns the split that a shard's or table's path names (`imagenet-val-003.tar`), or None."""
    named = _SPLIT.findall(path.lower())
    return named[-1] if named else None


def read_classes(path: str | os.PathLike[str]) -> list[str]:
    """Reads class names, one a line, in label order.

    Raises:
        ImageError: the file cannot be read, is empty, has a blank line between names, or a name twice.
    """
    lines = [unicodedata.normalize("NFC", line.strip()) for line in read_text(os.fspath(path)).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ImageError("is empty", str(path), "give a text file, one class a line")
    if "" in lines:
        cure = "write a name there, for every later class counts from it, or remove the line"
        raise ImageError("is blank", f"{path}: line {lines.index('') + 1}", cure)
    if len(set(lines)) < len(lines):
        twice = next(name for number, name in enumerate(lines) if name in lines[:number])
        raise ImageError(f"names {twice!r} twice", str(path), "keep each class once")
    return lines


def read_text(path: str) -> str:
    """Returns a text file of any line ends, with "\\n" alone: UTF-8, or what its byte order mark says.

    Raises:
        ImageError: it cannot be read, or is of another encoding.
    """
    try:
        with opened(path) as file:
            data = file.read()
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot be read ({error})", path, "give a UTF-8 text file") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
