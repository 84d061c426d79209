"""WebDataset: samples in tars, members with one key (`0001.jpg`, `0001.cls`, `0001.json`, `0001.txt`) side by
side."""

from __future__ import annotations

import json
import struct
import tarfile
from collections.abc import Iterator

from seit.errors import ImageError
from seit.images.listed import Listed, split_of
from seit.images.listing import COMPRESSED, is_picture, tar_members
from seit.images.places import Place, joined, opened

_LARGEST_LABEL = 1 << 20


def list_shards(
    root: str, files: list[str], image_column: str | None = None, label_column: str | None = None
) -> Listed:
    """Lists the samples of WebDataset tars, in their order.

    Args:
        root: the folder that names are relative to.
        files: tars below it; a name or folder that holds train, val or test says the split.
        image_column: the pictures' ending, where a sample has several, e.g. "jpg".
        label_column: what holds the class: an ending ("cls", "txt") or a key of the `.json` member; by default
            `cls`, else the JSON's "label".

    Raises:
        ImageError: a tar is compressed or damaged, a name in it unsafe, or a label unreadable.
    """
    listed = Listed()
    for name in files:
        path = joined(root, name)
        split = split_of(name)
        for _, members in _samples(path):
            picture = _picture(members, image_column)
            if picture is None:
                continue
            label = _label(members, label_column)
            listed.add(f"{name}/{picture.inner}", picture, label, split)
    return listed


def has_labels(path: str) -> bool:
    """Says whether a tar is WebDataset's: its first picture has a member of its key that holds a class."""
    for _, members in _samples(path):
        if _picture(members, None) is not None:
            return bool(members.keys() & {"cls", "json"})
    return False


def _samples(path: str) -> Iterator[tuple[str, dict[str, Place]]]:
    """Yields (key, ending -> member) of samples, whose members lie side by side."""
    try:
        with opened(path) as file:
            if file.read(8).startswith(COMPRESSED):
                raise ImageError("a compressed tar cannot be read out of order", path, "decompress it first")
        key, members = "", dict[str, Place]()
        for member in tar_members(path, all_files=True):
            folder, slash, base = member.inner.rpartition("/")
            stem, _, ending = base.partition(".")
            if folder + slash + stem != key and members:
                yield key, members
                members = {}
            key = folder + slash + stem
            members[ending.lower()] = member
        if members:
            yield key, members
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", path, "check the file") from error
    except (tarfile.TarError, struct.error, ValueError, OverflowError) as error:
        raise ImageError(f"no readable tar ({error})", path, "copy the tar again") from error


def _picture(members: dict[str, Place], ending: str | None) -> Place | None:
    """Returns a sample's picture: of the ending that was asked for, else the first."""
    if ending is not None:
        return members.get(ending.lower().lstrip("."))
    return next((member for member in members.values() if is_picture(member.inner)), None)


def _label(members: dict[str, Place], column: str | None) -> str | None:
    """Returns a sample's class, or None if it has none."""
    member = members.get(column or "cls")
    if member is not None:
        return _text(member).strip() or None
    if "json" not in members:
        return None
    try:
        found = json.loads(_text(members["json"]))
    except (ValueError, RecursionError) as error:
        raise ImageError(f"is no JSON ({str(error)[:60]})", members["json"].where, "write the tar again") from None
    value = found.get(column or "label") if isinstance(found, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ImageError(
            f"its {column or 'label'} is no text or number", members["json"].where, "give --label-column"
        )
    return str(value).strip() or None


def _text(member: Place) -> str:
    if member.size > _LARGEST_LABEL:
        raise ImageError(f"{member.size} bytes are too many for a label", member.where, "give --label-column")
    try:
        return member().decode()
    except UnicodeDecodeError as error:
        raise ImageError("is no UTF-8 text", member.where, "write the tar again") from error
