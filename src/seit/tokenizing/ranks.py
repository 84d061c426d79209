"""Several processes at one job, as `torchrun` starts them, and the locks that keep a second job away."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seit.errors import SeitError, StoreError

_BUSY = "is being written by another process"
_CURE = "wait for it, or stop it and run the command again"


@dataclass(frozen=True)
class Rank:
    """Which of `world` processes this is; `local` is its number on this machine."""

    number: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def of_environment(cls) -> Rank:
        """Reads what torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK); ranks never wait for each other.

        A WORLD_SIZE above 1 says that there are several; without it other tools' variables mean nothing.

        Raises:
            SeitError: they are no numbers that fit each other.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        texts = [os.environ.get(name, "") for name in names]
        if texts[1] in ("", "1"):
            return cls()
        if not all(text.isdigit() for text in texts) or int(texts[0]) >= int(texts[1]):
            what, cure = f"are {', '.join(map(repr, texts))}", "start with torchrun, or unset them"
            raise SeitError(what, ", ".join(names), cure)
        return cls(*map(int, texts))

    def device(self, device: str) -> str:
        """Returns this process's own GPU where the job runs on several."""
        return f"cuda:{self.local}" if device == "cuda" and self.world > 1 else device

    def takes(self, number: int) -> bool:
        """Whether shard `number` is this process's."""
        return number % self.world == self.number


@contextlib.contextmanager
def working(partial: Path, rank: Rank) -> Iterator[None]:
    """Holds OUT.partial for one job: alone, or shared among the ranks of one job. The system drops it with the
    process.

    Raises:
        StoreError: another job holds it, or has just finished with it.
    """
    with contextlib.ExitStack() as stack:
        kind = fcntl.LOCK_EX if rank.world == 1 else fcntl.LOCK_SH
        _lock(stack, partial / "lock", kind)
        if rank.world > 1:
            _lock(stack, partial / f"lock-{rank.number}-of-{rank.world}", fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def committing(partial: Path) -> Iterator[bool]:
    """Says whether this rank is the one to commit; another is if it holds the lock or has committed already."""
    with contextlib.ExitStack() as stack:
        try:
            _lock(stack, partial / "lock-commit", fcntl.LOCK_EX)
        except StoreError:
            yield False
            return
        yield True


def _lock(stack: contextlib.ExitStack, path: Path, kind: int) -> None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        raise StoreError("is gone: another process finished it", str(path.parent), "use its data set") from None
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(_BUSY, str(path.parent), _CURE) from None
