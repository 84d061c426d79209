"""The account of a source: which of its files, members and rows are read, and which are left out and why."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seit.errors import shown
from seit.progress import say

HIDDEN = "hidden"
OTHER = "without a picture's ending"
UNDECODABLE = "of an ending that is not decoded here"
UNSORTED = "in no class folder"
BESIDE = "beside the split folders"
OTHER_SPLIT = "of another held-out split"
OTHER_KIND = "of another kind than what is read"
SECOND = "further pictures of a sample"
UNUSED = "members that nothing reads"
OVERWRITTEN = "replaced by a later member of the same name"
BLANK = "blank"
_EXAMPLES = 3  # names of each reason
_MOST = 20  # endings and folders of each reason in JSON


@dataclass
class Group:
    """Files, members or rows that share a fate: how many, their endings and folders, the first names."""

    count: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

    def add(self, name: str, ending: str | None = None) -> None:
        """Counts one name, a path with forward slashes; `ending` overrides what follows its last dot."""
        folder, base = posixpath.split(name)
        self.count += 1
        self.endings[ending or posixpath.splitext(base)[1].lower() or "no ending"] += 1
        self.folders[folder or "."] += 1
        if len(self.names) < _EXAMPLES and name not in self.names:
            self.names.append(name)

    def first(self) -> str:
        """Returns the first names."""
        return ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")

    def text(self) -> str:
        """Returns the names of a few, or the commonest endings and folders of many."""
        if self.count <= _EXAMPLES:
            return ", ".join(self.names)
        counts = (self.endings, self.folders) if self.folders.keys() - {"."} else (self.endings,)
        return "; in ".join(some([f"{name} {n:,}" for name, n in count.most_common()], 4) for count in counts)

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON-able data, with the 20 commonest endings and folders."""
        return {
            "count": self.count,
            "endings": dict(self.endings.most_common(_MOST)),
            "folders": dict(self.folders.most_common(_MOST)),
            "names": self.names,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Group:
        """Returns what `to_json` described."""
        return cls(saved["count"], Counter(saved["endings"]), Counter(saved["folders"]), saved["names"])


@dataclass
class Account:
    """Counts everything that a source holds; each lister fills in its part.

    `total` is the number of files below the source, plus the members of its archives and the rows of its tables.

    Attributes:
        source: what the user named.
        images: pictures that are there to be read, also those that turn out to be unreadable.
        splits: split -> number of its images.
        split_rule: how held-out images were chosen.
        classes: how many.
        labels: where labels come from, e.g. "folder names" or "column 'label'".
        unlabelled: images whose label is missing.
        columns: columns, endings and JSON keys that are not read as labels.
        label_files: files and members that hold labels of pictures beside them.
        containers: archives and tables whose members or rows are read.
        left_out: reason -> what is not read for it.
        notes: choices that a user may want to change, one phrase each.
        unreadable: reason -> images that cannot be read, as far as that is known.
        report: the file that names every unreadable image.
        silent: tell nothing, as of several processes all but the first.
    """

    source: str = ""
    images: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    split_rule: str = ""
    classes: int = 0
    labels: str = ""
    unlabelled: Group = field(default_factory=Group)
    columns: list[str] = field(default_factory=list)
    label_files: int = 0
    containers: int = 0
    left_out: dict[str, Group] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unreadable: dict[str, Group] = field(default_factory=dict)
    report: str = ""
    silent: bool = False

    @property
    def total(self) -> int:
        """How many files, members and rows there are."""
        return self.images + self.label_files + self.containers + _count(self.left_out)

    def leave(self, reason: str, name: str, ending: str | None = None) -> None:
        """Counts a file, member or row that is not read."""
        self.left_out.setdefault(reason, Group()).add(name, ending)

    def note(self, text: str) -> None:
        """Adds a phrase to what is told, once."""
        if text not in self.notes:
            self.notes.append(text)

    def unread(self, name: str, reason: str, every: bool = False) -> None:
        """Counts an image that cannot be read, keeping every name if asked; details of the reason are dropped."""
        group = self.unreadable.setdefault(reason.partition(" (")[0], Group())
        group.add(name)
        if every and name not in group.names:
            group.names.append(name)

    def lines(self) -> tuple[str, str]:
        """Returns what a person reads: what there is, and what of it is left out."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
        known = [f"{self.images:,} image{'s' * (self.images != 1)} of {self.source}"]
        if self.classes:
            known[0] += f": {splits} ({self.split_rule})"
            known.append(f"{self.classes:,} class{'es' * (self.classes != 1)} by {self.labels}")
        elif self.splits:
            known.append("no labels")
        groups = self.unreadable | self.left_out
        reasons = ", ".join(f"{group.count:,} {reason} ({group.text()})" for reason, group in groups.items())
        lost = [f"{_count(groups):,} of {self.total:,}: {reasons}" if groups else "nothing"]
        if self.report:
            lost.append(f"unreadable images are named in {self.report}")
        if self.unlabelled.count and self.classes:
            lost.append(f"without a label: {self.unlabelled.count:,} ({self.unlabelled.first()})")
        return shown(f"found {'; '.join([*known, *self.notes])}"), shown(f"left out {'; '.join(lost)}")

    def tell(self) -> None:
        """Prints the two lines on standard error; after `quiet()` only where a user may miss something."""
        lost = self.left_out.keys() - {HIDDEN} or self.unreadable or self.notes
        if not self.silent:
            say(*self.lines(), always=bool(lost or (self.unlabelled.count and self.classes)))

    def to_json(self) -> dict[str, Any]:
        """Returns the account as JSON-able data."""
        groups = {
            name: {reason: group.to_json() for reason, group in getattr(self, name).items()}
            for name in ("left_out", "unreadable")
        }
        whole = asdict(self) | groups | {"unlabelled": self.unlabelled.to_json(), "total": self.total}
        del whole["silent"]
        return whole

    def fill(self, saved: dict[str, Any]) -> Account:
        """Takes over what `to_json` returned of another account; returns itself."""
        groups = {
            name: {reason: Group.from_json(group) for reason, group in saved[name].items()}
            for name in ("left_out", "unreadable")
        }
        plain = {name: value for name, value in saved.items() if name != "total"}
        vars(self).update(plain | groups | {"unlabelled": Group.from_json(saved["unlabelled"])})
        return self


def some(names: Sequence[str], most: int = _EXAMPLES) -> str:
    """Returns the first names with commas between them, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count(groups: dict[str, Group]) -> int:
    return sum(group.count for group in groups.values())
