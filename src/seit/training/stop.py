"""Turns the signals that ask a process to end into a stop at a place from which a training can go on.

Slurm, spot machines and `kill` send SIGTERM (or SIGUSR1, where a job asks for it) some time before they kill;
Ctrl-C sends SIGINT, and a second one stops at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # Windows lacks the last


class Stop:
    """Notes that this process was asked to end; used as a context. Threads other than the main one get no signals.

    Attributes:
        asked: whether it was.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                self._before[number] = signal.signal(number, self._noted)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a signal raise KeyboardInterrupt inside the block, where nothing can be left half-done."""
        self._at_once = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def _noted(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker process that was forked and inherited this
            os._exit(128 + number)
        again, self.asked = self.asked, True
        if self._at_once or (again and number == signal.SIGINT):
            raise KeyboardInterrupt
