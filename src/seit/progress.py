"""Progress of every long step: done/total, rate, time left, on standard error.

On a terminal a live bar (tqdm); elsewhere one plain line at most every ten seconds, so that logs stay short.
Library code calls `progress`; `quiet()` (the command line's `--quiet`) silences it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

_quiet = False
_PLAIN_SECONDS = 10.0


def quiet(on: bool = True) -> None:
    """Silences all progress of this process (or lets it speak again)."""
    global _quiet
    _quiet = on


def say(*lines: str, always: bool = False) -> None:
    """Prints lines on standard error; after `quiet()` only those that have to be seen all the same."""
    if always or not _quiet:
        print(*lines, sep="\n", file=sys.stderr, flush=True)


class progress:
    """Counts the parts of one long step as they are done.

    Args:
        total: how many units there are.
        what: the step's name, e.g. "tokenize".
        unit: what is counted, e.g. "images".
        done: units that an earlier, interrupted call had finished.
        silent: show nothing, as after `quiet()`.

    Example:
        >>> with progress(100, "tokenize", "images") as bar:
        ...     bar.update(100, "loss 0.5")
    """

    def __init__(self, total: int, what: str, unit: str, done: int = 0, silent: bool = False) -> None:
        self.total, self.what, self.unit, self.done, self.first = total, what, unit, done, done
        self._silent = silent or _quiet or sys.stderr is None  # closed, as by `2>&-` or pythonw
        self._bar: Any = None

    def __enter__(self) -> progress:
        self.start = self._last = time.monotonic()
        if not self._silent and sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total, initial=self.done, desc=self.what, unit=" " + self.unit, file=sys.stderr
            )
        return self

    def update(self, count: int, note: str = "") -> None:
        """Adds `count` finished units; `note` is shown behind the rate."""
        self.done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if not self._silent and now - self._last >= _PLAIN_SECONDS:
            self._last = now
            rate = (self.done - self.first) / (now - self.start)
            left = (self.total - self.done) / rate if rate else float("inf")
            tail = f", {note}" if note else ""
            print(
                f"{self.what}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {left:.0f} s left{tail}",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self._silent and error[0] is None:
            seconds = time.monotonic() - self.start
            print(
                f"{self.what}: {self.done}/{self.total} {self.unit} in {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
