"""WebDataset: samples in tars, members with one key (`0001.jpg`, `0001.cls`, `0001.json`, `0001.txt`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from seit.errors import ImageError, nearest_names
from seit.images.account import HIDDEN, SECOND, UNUSED, Account, some
from seit.images.columns import IMAGES, LABELS, Choice, Label, label_of, pick, plain, split_of_path
from seit.images.listed import Listed
from seit.images.listing import list_archive, reason_to_leave
from seit.images.places import Place, joined

_LARGEST_LABEL = 1 << 20
_LOOKED_AT = 100  # samples whose endings and keys are told as columns
Members = dict[str, tuple[str, Place]]
"""Of a sample: ending (what follows the first dot of a member's name) -> the member's name and place."""


def list_shards(root: str, files: list[str], choice: Choice, account: Account) -> Listed:
    """Lists the samples of WebDataset tars, in their order.

    A sample is what shares a name up to its first dot. Where such a name holds several pictures, the one of a plain
    ending (`0001.png` beside `0001.mask.png`) is the sample's; pictures that have labels of their own, or nothing
    undotted beside them, are samples of their own (`IMG_1.001.jpg` and `IMG_1.001.cls`).

    Args:
        root: the folder that names are relative to.
        files: tars below it; a name or folder that holds train, val or test says the split.
        choice: `image`: the pictures' ending. `label`: what holds the class, an ending ("cls", "txt") or a key of
            the `.json` member; by default an ending such as `cls`, else a key such as "label".
        account: gets every member.

    Raises:
        ImageError: a tar is compressed or damaged, a name in it unsafe, a label is no class, or it cannot be told
            which of a sample's pictures is meant.
    """
    listed, labels = Listed(), _Labels(choice, account)
    for name in files:
        path, split = joined(root, name), split_of_path(name)
        account.containers += 1
        for key, members in _samples(list_archive(path, account), account):
            used = set[str]()
            for ending in _pictures(members, choice, f"{path}: {key}", account):
                inner, place = members[ending]
                label, holder = labels.of(members, ending)
                listed.add(f"{name}/{inner}", place, label, split)
                account.label_files += holder is not None and holder not in used
                used |= {ending, *filter(None, [holder])}
            for ending in members.keys() - used:
                reason = SECOND if _is_picture(ending) and used else UNUSED
                account.leave(reason, members[ending][0], f".{ending}")
    listed.by = labels.by
    if not labels.by and choice.label is not None:
        cure = f"give --label-column; {nearest_names(choice.label, account.columns)}"
        raise ImageError(f"no sample has a member or JSON key {choice.label!r}", joined(root, files[0]), cure)
    return listed


def has_labels(archive: dict[str, Place]) -> bool:
    """Says whether an archive is WebDataset's: some sample holds a picture and a member for its label."""
    samples = _samples(archive, Account())
    usual = {"json", *LABELS}
    return any(
        (_kinds(members, "") | _kinds(members, ending.rpartition(".")[0])) & usual
        for _, members in samples
        for ending in members
        if _is_picture(ending)
    )


def _samples(archive: dict[str, Place], account: Account) -> Iterator[tuple[str, Members]]:
    """Yields (key, members) of each sample; its members need not lie side by side."""
    samples: dict[str, Members] = {}
    for name, place in archive.items():
        if reason_to_leave(name) is HIDDEN:
            account.leave(HIDDEN, name)
            continue
        folder, slash, base = name.rpartition("/")
        stem, _, ending = base.partition(".")
        members = samples.setdefault(folder + slash + stem, {})
        if ending.lower() in members:  # a.jpg and a.JPG
            ending = f"{ending} of {name}"
        members[ending.lower()] = name, place
    for key in list(samples):
        yield key, samples.pop(key)


def _is_picture(ending: str) -> bool:
    return reason_to_leave(f"x.{ending}") is None


def _pictures(members: Members, choice: Choice, where: str, account: Account) -> list[str]:
    """Returns the endings of the pictures that are samples of their own among members of one key."""
    if choice.image is not None:
        ending = choice.image.lower().lstrip(".")
        return [ending] if ending in members else []
    pictures = [ending for ending in members if _is_picture(ending)]
    plain = [ending for ending in pictures if "." not in ending]
    dotted = [ending for ending in pictures if "." in ending]
    own = [ending for ending in dotted if _kinds(members, ending.rpartition(".")[0]) & {*LABELS, "json"}]
    if all("." in ending for ending in members):
        return dotted
    if plain:
        first = pick(plain, None, IMAGES, "", where) or plain[0]
        if len(plain) > 1:
            others = [f".{ending}" for ending in plain if ending != first]
            account.note(f"pictures are members .{first}, not {some(others)} (--image-column)")
        # Of other kinds than the plain ones they are masks and the like, which happen to have notes of their own.
        alike = _kinds(members, "") | {first}
        return [first, *(e for e in own if {e.rpartition(".")[2], *_kinds(members, e.rpartition(".")[0])} <= alike)]
    if len(dotted) > 1 and not own:
        ending = some([f".{ending}" for ending in dotted])
        raise ImageError(f"holds several pictures ({ending})", where, f"give --image-column {dotted[0]}")
    return own or dotted


def _kinds(members: Members, prefix: str) -> set[str]:
    """Returns the kinds of what is no picture behind a prefix: "1.cls" and "1.json" behind "1" are cls and json."""
    parts = (ending.rpartition(".") for ending in members if not _is_picture(ending))
    return {kind for before, _, kind in parts if before == prefix}


class _Labels:
    """Finds the label of each sample.

    Attributes:
        by: where labels were found, empty if nowhere.
    """

    def __init__(self, choice: Choice, account: Account) -> None:
        self.usual = LABELS if choice.label is None else [plain(choice.label)]
        self.account, self.by, self.samples = account, "", 0

    def of(self, members: Members, picture: str) -> tuple[Label, str | None]:
        """Returns a picture's label, and the ending of the member that holds it."""
        prefix = picture.rpartition(".")[0]
        endings = {kind: kind for kind in _kinds(members, "")}
        endings |= {kind: f"{prefix}.{kind}" for kind in _kinds(members, prefix) if prefix}
        keyed = endings.pop("json", None)
        kind = pick(list(endings), None, self.usual, "", "")
        values = _parsed(members[keyed][1]) if kind is None and keyed is not None else {}
        key = pick(list(values), None, self.usual, "", "")
        label: Label = None
        holder, by = None, ""
        if kind is not None:
            place, holder, by = members[endings[kind]][1], endings[kind], f"members .{kind}"
            label = label_of(_text(place), place.where)
        elif key is not None and keyed is not None:
            place, holder, by = members[keyed][1], keyed, f"key {key!r} of members .json"
            label = label_of(values[key], f"{place.where}, key {key!r}")
        self.by = self.by or by
        self.samples += 1
        if self.samples <= _LOOKED_AT:
            others = [name for name in (*endings, *values) if name not in (kind, key)]
            self.account.columns = list(dict.fromkeys([*self.account.columns, *others]))
        return label, holder


def _parsed(place: Place) -> dict[str, Any]:
    """Returns the object of a JSON member; nothing of what is no object."""
    try:
        values = json.loads(_text(place))
    except (ValueError, RecursionError) as error:
        raise ImageError(f"is no JSON ({str(error)[:60]})", place.where, "write the tar again") from None
    return values if isinstance(values, dict) else {}


def _text(place: Place) -> str:
    if place.size > _LARGEST_LABEL:
        raise ImageError(f"{place.size} bytes are too many for a label", place.where, "give --label-column")
    try:
        return place().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError("is no UTF-8 text", place.where, "write the tar again") from error
