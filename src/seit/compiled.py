"""The one place that decides how loops are compiled, and where the machine code is kept between processes.

Numba keeps a function's machine code beside that function's own file, and renews it when that file changes. That
fails in two ways. A kernel also contains what it inlines from other files, whose changes it would not see: so the
code of all kernels of a folder is kept under a name made of all their sources. And an installation that nobody may
write, without a writable home, has no place for it at all: then every process compiles for itself.

The code is kept in `NUMBA_CACHE_DIR`, else in the `__pycache__` beside the kernels, else in the user's cache
folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

_config: Any = numba.config


def compiled(
    function: Callable[..., Any] | None = None, *, inline: bool = False, fastmath: bool | set[str] = False
) -> Any:
    """Compiles a function when it is first called, without the interpreter's lock while it runs.

    Args:
        function: of numbers and arrays; `compiled` is a decorator, with or without arguments.
        inline: copy the function into its callers: an array passed to a call has its references counted.
        fastmath: the liberties that numba may take with floats.

    Example:
        >>> @compiled
        ... def total(numbers): ...
    """
    if function is None:
        return functools.partial(compiled, inline=inline, fastmath=fastmath)
    made: Any = numba.njit(nogil=True, inline="always" if inline else "never", fastmath=fastmath)(function)
    folder = _folder(Path(inspect.getfile(function)).parent)
    if folder is not None:
        chosen, _config.CACHE_DIR = _config.CACHE_DIR, str(folder)
        try:
            made._cache = _Cache(function)
        except RuntimeError:
            pass  # numba keeps no code of this kind of file, one inside a zip, say
        finally:
            _config.CACHE_DIR = chosen
    return made


class _Cache(FunctionCache):
    """Numba's cache, which must never be what stops a program: it only saves time."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file may fail to unpickle in any way
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # the disk is full, or the folder was removed
            super().save_overload(sig, data)


@functools.cache
def _folder(sources: Path) -> Path | None:
    """Returns where the machine code of a folder's kernels is kept, or None where nothing can be written."""
    paths = {*sources.glob("*.py"), *Path(__file__).parent.rglob("*.py")}  # kernels call those of other folders
    kernels = [path for path in sorted(paths) if b"seit.compiled" in path.read_bytes()]
    if not kernels:  # inside a zip
        return None
    digest = hashlib.sha256()
    for path in [Path(__file__), *kernels]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for parent in _parents(sources):
        folder = parent / f"seit-{digest.hexdigest()[:16]}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _parents(sources: Path) -> list[Path]:
    """Returns the folders to try, in order."""
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parents = [_config.CACHE_DIR, sources / "__pycache__", os.path.join(own, "seit-compiled")]
    return [Path(parent) for parent in parents if parent and not str(parent).startswith("~")]  # "~": no home
