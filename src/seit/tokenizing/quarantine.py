"""Images that cannot be decoded: how many are borne, and the report that names each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seit import files
from seit.errors import ImageError, SeitError, nearest_names
from seit.images import Bad, Facts

ON_ERROR = ("fail", "skip", "limit")


class Quarantine:
    """Decides on each bad image whether the job goes on.

    Args:
        on_error: "fail" at the first, "skip" them all, or skip up to a "limit".
        most: how many, for "limit".

    Raises:
        SeitError: unknown `on_error`, or a limit that it does not use.
    """

    def __init__(self, on_error: str, most: int | None) -> None:
        if on_error not in ON_ERROR:
            raise SeitError(f"there is no way {on_error!r}", "--on-error", nearest_names(on_error, ON_ERROR))
        if (most is None) == (on_error == "limit"):
            raise SeitError("belong together", "--on-error limit and --max-bad", "give both or neither")
        self.most = {"fail": 0, "skip": None, "limit": most}[on_error]
        self.count = 0

    def add(self, bad: Sequence[Bad]) -> None:
        """Counts bad images.

        Raises:
            ImageError: they are more than is borne.
        """
        self.count += len(bad)
        if bad and self.most is not None and self.count > self.most:
            cure = f"{bad[0].cure}, or go on without it: --on-error skip" if bad[0].cure else "--on-error skip"
            what = (
                bad[0].reason if not self.most else f"{bad[0].reason} (bad image {self.count} of {self.most} borne)"
            )
            raise ImageError(what, bad[0].name, cure)


def bad_of(found: Sequence[Facts | Bad]) -> list[Bad]:
    """Returns the bad ones."""
    return [one for one in found if isinstance(one, Bad)]


def report_path(out: Path) -> Path:
    """Returns where the report of a data set lies: beside it, for it is no part of the format."""
    return out.with_name(f"{out.name}.quarantine.jsonl")


def write_report(out: Path, notes: Sequence[dict[str, Any]]) -> int:
    """Writes one JSON line a bad image (name, reason, bytes, hash as 16 hex digits), in the listing's order.

    Args:
        out: the data set; the report is written beside it, or removed if there is nothing to report.
        notes: what was noted with each shard.

    Returns:
        How many images it names.
    """
    bad = [Bad(*one) for note in notes for one in note["bad"]]
    path = report_path(out)
    if not bad:
        path.unlink(missing_ok=True)
        return 0
    rows = [{"name": one.name, "reason": one.reason, "bytes": one.bytes, "hash": f"{one.hash:016x}"} for one in bad]
    files.write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return len(bad)
