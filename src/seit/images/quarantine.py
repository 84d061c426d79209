"""Images that cannot be read: how many are borne, the report that names each, and a source without them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from seit import files
from seit.errors import ImageError, SeitError, nearest_names
from seit.images.account import Account
from seit.images.listed import Image, Source
from seit.images.prepare import Bad, Facts, bad_image
from seit.images.view import decode
from seit.progress import progress

ON_ERROR = ("fail", "skip", "limit")
_CHECKED = 1024  # images handed to the threads at once


class Quarantine:
    """Decides on each unreadable image whether the job goes on.

    Args:
        on_error: "fail" at the first, "skip" them all, or skip up to a "limit".
        most: how many, for "limit".

    Attributes:
        count: unreadable images so far.

    Raises:
        SeitError: unknown `on_error`, or a limit that it does not use.
    """

    def __init__(self, on_error: str = "fail", most: int | None = None) -> None:
        if on_error not in ON_ERROR:
            raise SeitError(f"there is no way {on_error!r}", "--on-error", nearest_names(on_error, ON_ERROR))
        if (most is None) == (on_error == "limit"):
            raise SeitError("belong together", "--on-error limit and --max-bad", "give both or neither")
        self.most = {"fail": 0, "skip": None, "limit": most}[on_error]
        self.count = 0

    def foresee(self, account: Account) -> None:
        """Ends a job before it begins if its listing already knows of more unreadable images than are borne.

        Raises:
            ImageError: it does.
        """
        known = sum(group.count for group in account.unreadable.values())
        if self.most is not None and known > self.most:
            reason, group = next(iter(account.unreadable.items()))
            raise ImageError(reason, group.names[0], "remove it, or go on without it: --on-error skip")

    def add(self, bad: Sequence[Bad]) -> None:
        """Counts unreadable images.

        Raises:
            ImageError: they are more than is borne.
        """
        self.count += len(bad)
        if bad and self.most is not None and self.count > self.most:
            cure = f"{bad[0].cure}, or go on without it: --on-error skip" if bad[0].cure else "--on-error skip"
            borne = f" (bad image {self.count}, {self.most} are borne)" if self.most else ""
            raise ImageError(f"{bad[0].reason}{borne}", bad[0].name, cure)


@contextlib.contextmanager
def skippable(quarantine: Quarantine) -> Iterator[None]:
    """Adds to the error of an unreadable image how to go on without it."""
    try:
        yield
    except ImageError as error:
        if quarantine.most is None or "--on-error" in error.cure:
            raise
        cure = "go on without it: --on-error skip"
        raise ImageError(error.what, error.where, f"{error.cure}, or {cure}" if error.cure else cure) from error


def readable(
    sources: Sequence[Source],
    quarantine: Quarantine,
    *,
    split: str = "all",
    channels: int = 3,
    report: Path | None = None,
) -> list[Source]:
    """Returns sources without the images that cannot be read, all of which are decoded once to find out.

    Where the first of them ends the job anyway, the sources come back as they are.

    Args:
        sources: the listed images.
        quarantine: how many are borne, of all sources together.
        split: whose images matter, "train", "val" or "all".
        channels: of the pictures that will be asked for.
        report: where to name the unreadable ones; the accounts of the sources get them, too.

    Raises:
        ImageError: more than are borne cannot be read, or all of a class or a split.
    """
    for source in sources:
        quarantine.foresee(source.account)
    if quarantine.most == 0:
        return list(sources)
    bad = [_unreadable(source, source.split(split), quarantine, channels) for source in sources]
    for source, by_place in zip(sources, bad, strict=True):
        check_nothing_vanishes(source, [one.name for one in by_place.values()])
    if report is not None:
        write_report(report, [one for by_place in bad for one in by_place.values()])
    whole = []
    for source, by_place in zip(sources, bad, strict=True):
        record(list(by_place.values()), source.account, report)
        if by_place:
            source.account.tell()
            source = source.take([place for place in range(len(source)) if place not in by_place])
        whole.append(source)
    return whole


def _unreadable(source: Source, places: range, quarantine: Quarantine, channels: int) -> dict[int, Bad]:
    """Decodes some images of a source; returns position -> why, of those that cannot be."""
    bad: dict[int, Bad] = {}
    with ThreadPoolExecutor() as pool, progress(len(places), "check", "images") as bar:
        for start in range(0, len(places), _CHECKED):
            part = places[start : start + _CHECKED]
            reasons = pool.map(lambda place: _check(source[place], channels), part)
            more = {place: reason for place, reason in zip(part, reasons, strict=True) if reason is not None}
            quarantine.add(list(more.values()))
            bad |= more
            bar.update(len(part))
    return bad


def _check(image: Image, channels: int) -> Bad | None:
    """Decodes an image; returns why it cannot be, or None."""
    data = b""
    try:
        data = image.read()
        decode(data, image.name, channels)
    except (ImageError, MemoryError) as error:
        return bad_image(image.name, data, error)
    return None


def check_nothing_vanishes(source: Source, bad: Sequence[str]) -> None:
    """Refuses to go on where all images of a split, or all training images of a class, are unreadable.

    Args:
        source: the listed images.
        bad: names of the unreadable ones.

    Raises:
        ImageError: a class, a split or everything would be lost.
    """
    if not bad:
        return
    gone = {*bad}
    kept = np.array([name not in gone for name in source.names])
    if not kept.any():
        raise ImageError(f"none of {len(source)} images can be read", source.name, "check the files")
    for split, count in source.splits.items():
        span = source.split(split)
        if count and not kept[span.start : span.stop].any():
            raise ImageError(f"no image of the split {split} can be read", source.name, "replace some of them")
    trained = slice(source.train or len(source))
    lost = {*source.labels[trained].tolist()} - {*source.labels[trained][kept[trained]].tolist()} - {-1}
    if lost:
        what = f"no image of the class {source.classes[min(lost)]} can be read"
        raise ImageError(what, source.name, "replace some of them, or remove the class")


def record(bad: Sequence[Bad], account: Account, report: Path | None) -> None:
    """Writes into an account which images cannot be read: all of them where no report names them."""
    account.unreadable.clear()
    for one in bad:
        account.unread(one.name, one.reason, every=report is None)
    account.report = os.fspath(report) if bad and report is not None else ""


def write_report(report: Path, bad: Sequence[Bad]) -> None:
    """Writes one JSON line of each unreadable image: name, reason, bytes, hash (16 hex digits).

    An earlier report is removed if there is nothing to report.
    """
    if not bad:
        report.unlink(missing_ok=True)
        return
    report.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"name": one.name, "reason": one.reason, "bytes": one.bytes, "hash": f"{one.hash:016x}"} for one in bad]
    files.write_bytes(report, "".join(json.dumps(row) + "\n" for row in rows).encode())


def read_report(report: Path) -> set[str] | None:
    """Returns the names of a report, or None if there is none or it is damaged."""
    try:
        return {json.loads(line)["name"] for line in report.read_text("utf-8").split("\n") if line}
    except (OSError, ValueError, KeyError):
        return None


def report_path(out: str | os.PathLike[str]) -> Path:
    """Returns where the report of an output lies: beside it, for it is no part of the format."""
    path = Path(out)
    return path.with_name(f"{path.name}.quarantine.jsonl")


def usable(source: Source, quarantine: Quarantine, report: Path) -> Source:
    """Returns the images of a source that a training on pixels can use, and tells the account.

    Images without a label are like images that cannot be read: refused, or left out where these are borne.

    Args:
        source: the listed images.
        quarantine: how many unreadable images are borne.
        report: where to name the unreadable ones.

    Raises:
        ImageError: images have several classes; too many cannot be read, or have no label; a class or a split would
            be lost.
    """
    source.account.tell()
    if source.several is not None:
        raise ImageError("gives several classes of an image", source.name, "tokenize it, and train on the ids")
    unknown = 0 if source.view_labels.shape[1] or not source.classes else int((source.labels < 0).sum())
    if unknown and quarantine.most is not None:
        what = f"{unknown:,} of {len(source):,} images have no label ({source.account.unlabelled.first()})"
        raise ImageError(what, source.name, "label them, or leave them out: --on-error skip")
    if unknown:
        source = source.take(np.flatnonzero(source.labels >= 0).tolist())
    return readable([source], quarantine, report=report)[0]


def bad_of(facts: Sequence[Facts | Bad]) -> list[Bad]:
    """Returns the unreadable ones."""
    return [one for one in facts if isinstance(one, Bad)]
