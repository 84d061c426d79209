"""Several processes at one job, as `torchrun` starts them, and the locks that keep a second job away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seit.errors import BusyError, SeitError, StoreError
from seit.files import lock


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
        BusyError: another job holds it.
        StoreError: another job has just finished with it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(partial, "lock", shared=rank.world > 1))
        if rank.world > 1:
            stack.enter_context(_locked(partial, f"lock-{rank.number}-of-{rank.world}"))
        yield


@contextlib.contextmanager
def committing(partial: Path) -> Iterator[bool]:
    """Says whether this rank is the one to commit; another is if it holds the lock or has committed already."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(partial, "lock-commit"))
        except (BusyError, StoreError):
            yield False
            return
        yield True


@contextlib.contextmanager
def _locked(partial: Path, name: str, shared: bool = False) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(partial / name, shared))
        except FileNotFoundError:
            raise StoreError("is gone: another process finished it", str(partial), "use its data set") from None
        yield
