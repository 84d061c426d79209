"""The only functions that put a file in its place, whole and synced or not at all, and the one lock of writers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seit.errors import BusyError

_logger = logging.getLogger(__name__)
_guard = threading.Lock()


@dataclass
class _Held:
    """A lock file that this process holds, and how many of its blocks do."""

    handle: int
    shared: bool
    blocks: int = 0


_held: dict[str, _Held] = {}  # by real path


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it there, synced, if the block succeeds.

    A killed process leaves at most a `.tmp` file that no reader takes for the real one.

    Args:
        path: where the file shall be.

    Yields:
        The temporary path to write to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to `path` atomically, as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Makes renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], shared: bool = False) -> Iterator[None]:
    """Holds a lock file for as long as the block runs; the system drops the lock when the process dies.

    POSIX record locks: they hold across the machines of an NFS mount, and forked workers do not inherit them, so
    workers that outlive a killed parent cannot keep its lock. They do not exclude threads of one process from each
    other; a table in memory does. Where the system has no locks, a warning says so and the block runs.

    Args:
        path: the lock file; made if absent and left behind, since removing it would let two processes hold it.
        shared: several holders may share the lock, but none of them with an exclusive one.

    Raises:
        BusyError: another process or thread holds the lock.
        FileNotFoundError: the lock file's folder does not exist.
    """
    name = os.path.realpath(path)
    with _guard:  # closing any handle of a file drops all of this process's locks on it: open it only once
        held = _held.get(name)
        if held is None:
            held = _held[name] = _Held(_locked_handle(Path(path), shared), shared)
        elif not (shared and held.shared):
            raise BusyError(str(Path(path).parent))
        held.blocks += 1
    try:
        yield
    finally:
        with _guard:
            held.blocks -= 1
            if not held.blocks:
                os.close(held.handle)
                _held.pop(name, None)  # a forked child has forgotten it


def _locked_handle(path: Path, shared: bool) -> int:
    """Opens a lock file and locks it without waiting."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # less the umask: a group may share a folder
    try:
        import fcntl  # only writers lock; reading works on systems without it

        fcntl.lockf(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        raise BusyError(str(path.parent)) from None
    except (ImportError, OSError) as error:
        _logger.warning("%s: cannot be locked (%s); a second writer would not be noticed", path, error)
    return handle


def _forget_locks() -> None:
    """Makes a forked child start without its parent's locks, which the system does not hand on either."""
    global _guard
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
