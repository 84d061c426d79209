"""The local copies of remote files: one folder that all processes of a machine share, kept within a size.

The folder is `seit-store-v1` below SEIT_CACHE (else ~/.cache/seit). Only files of the two kinds that it can tell by
their names are ever touched: `<sha256>-<name>`, whole and checked, and `.<sha256>-<name>.*.tmp`, being fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from seit import files
from seit.errors import BusyError, StoreError
from seit.store.entries import File

FOLDER, TAG, LOCKS = "seit-store-v1", "CACHEDIR.TAG", "locks"

_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Copies of remote files by seit; see bford.info/cachedir\n"
_WHOLE = re.compile(r"[0-9a-f]{64}-[A-Za-z0-9][A-Za-z0-9._-]*")
_PARTIAL = re.compile(r"\.([0-9a-f]{64})-.*\.tmp")
_SMALL = 16 << 20  # bytes that are hashed in no time
_PAUSE = 0.05  # seconds between two looks at what another process does
_ATTEMPTS = 8


class Cache:
    """Copies of remote files, each fetched once for all processes; those used longest ago make room.

    Args:
        limit: bytes that the folder may hold, files that are being fetched included.
    """

    def __init__(self, limit: int) -> None:
        try:
            below = Path(os.environ.get("SEIT_CACHE") or Path.home() / ".cache" / "seit")
        except RuntimeError:
            raise StoreError("there is no home folder", "cache", "set SEIT_CACHE to a folder") from None
        self.limit, self.folder = limit, below.absolute() / FOLDER
        self._checked: set[str] = set()  # hashes of small files that were compared since this was made

    def get(self, file: File, pieces: Callable[[], Iterator[bytes]], where: str) -> Path:
        """Returns the local copy of a file, fetching it if there is none that is whole.

        One process fetches a file while the others wait for it. A copy is checked again each time: its size, and
        once a `Cache` the hash of a small one.

        Args:
            file: name, size and hash.
            pieces: reads the remote file in order; asked for no more than one piece beyond its size.
            where: names the remote file in errors.

        Raises:
            StoreError: the remote file is not what it should be, does not fit, or cannot be kept here.
        """
        path = self._place(file)
        try:
            for _ in range(_ATTEMPTS):
                while not self._whole(file, path):
                    try:
                        with self._locked(file.sha256[:2]) as lock:
                            if not self._whole(file, path):  # nobody fetched it while we waited
                                self._fetch(file, path, pieces, where, lock)
                        break
                    except BusyError:
                        time.sleep(_PAUSE)
                with contextlib.suppress(FileNotFoundError):  # evicted already
                    with contextlib.suppress(PermissionError):  # another user's file
                        os.utime(path)  # the time of last use decides what goes first
                    return path
        except OSError as error:
            raise StoreError(
                f"cannot be kept: {error.strerror or error}",
                str(error.filename or self.folder),
                "make room, or set SEIT_CACHE to a folder of your own",
            ) from None
        raise StoreError(f"others evict {file.file} as soon as it is here", str(self.folder), "enlarge cache_bytes")

    def holds(self, file: File) -> bool:
        """Says whether there is a copy of a file."""
        return self._place(file).exists()

    def _place(self, file: File) -> Path:
        name = f"{file.sha256}-{file.file}"
        if not _WHOLE.fullmatch(name):
            raise StoreError("is not a SHA-256 and a bare file name", name[:80], "do not use this manifest")
        return self.folder / name

    def _whole(self, file: File, path: Path) -> bool:
        try:
            if path.stat().st_size != file.bytes:
                return False
            if file.bytes <= _SMALL and file.sha256 not in self._checked:
                with open(path, "rb") as source:
                    if hashlib.file_digest(source, "sha256").hexdigest() != file.sha256:
                        return False
                self._checked.add(file.sha256)
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[str]:
        """Holds one of the locks and yields its name; "" if another user made it and it cannot be opened.

        Raises:
            BusyError: another process or thread holds it.
        """
        with contextlib.ExitStack() as held:
            try:
                (self.folder / LOCKS).mkdir(parents=True, exist_ok=True)
                held.enter_context(files.lock(self.folder / LOCKS / name))
            except PermissionError:
                name = ""
            yield name

    def _fetch(self, file: File, path: Path, pieces: Callable[[], Iterator[bytes]], where: str, lock: str) -> None:
        if not (self.folder / TAG).exists():
            files.write_bytes(self.folder / TAG, _TAG)
        with files.atomic(path) as partial:
            self._reserve(file, partial, where, lock)
            digest, size = hashlib.sha256(), 0
            with open(partial, "rb+") as out:
                for piece in pieces():
                    size += len(piece)
                    if size > file.bytes:
                        break
                    digest.update(piece)
                    out.write(piece)
            if size != file.bytes or digest.hexdigest() != file.sha256:
                raise StoreError("is not what its manifest says", where, "upload the data set again")
        self._checked.add(file.sha256)

    def _reserve(self, file: File, partial: Path, where: str, lock: str) -> None:
        """Waits for room and makes the partial file, at its full size so that others count it."""
        if file.bytes + len(_TAG) > self.limit:
            raise StoreError(
                f"a file of {file.bytes} bytes exceeds the cache of {self.limit}", where, "enlarge cache_bytes"
            )
        while True:
            with contextlib.suppress(BusyError), self._locked("room"):
                if self._make_room(file, lock):
                    with open(partial, "wb") as out:
                        out.truncate(file.bytes)
                    return
            time.sleep(_PAUSE)

    def _make_room(self, file: File, lock: str) -> bool:
        """Removes the files used longest ago; readers that map one keep reading it.

        Returns:
            Whether there is room now; if not, what others are fetching takes it up.

        Raises:
            StoreError: there cannot be room: other users' files take it up.
        """
        left, kept, fetching = self.limit - len(_TAG) - file.bytes, [], False
        for entry in os.scandir(self.folder):
            partial = _PARTIAL.fullmatch(entry.name)
            with contextlib.suppress(FileNotFoundError):  # another process makes room as well
                if not (partial or _WHOLE.fullmatch(entry.name)) or not entry.is_file(follow_symlinks=False):
                    continue
                state = entry.stat(follow_symlinks=False)
                left -= state.st_size
                if partial is None:
                    kept.append((state.st_mtime, state.st_size, entry.path))
                    continue
                try:  # whoever fetches a file holds its lock, and the one that we hold is nobody else's
                    its = partial[1][:2]
                    with contextlib.nullcontext(its) if its == lock else self._locked(its) as held:
                        left += self._removed(entry.path, state.st_size) if held else 0
                except BusyError:
                    fetching = True
        for _, size, path in sorted(kept):
            if left >= 0:
                break
            left += self._removed(path, size)
        if left < 0 and not fetching:
            raise StoreError(
                f"other users' files leave no room for {file.bytes} bytes",
                str(self.folder),
                "set another SEIT_CACHE",
            )
        return left >= 0

    @staticmethod
    def _removed(path: str, size: int) -> int:
        """Removes a file; returns its size, 0 if it is another user's and has to stay."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except PermissionError:
            return 0
        return size
