"""Token data sets behind a URL (s3://, gs://, https://, memory://): fetched file by file into a size-limited cache.

A file is fetched whole when first needed, checked against the manifest's SHA-256 and kept under that hash, so the
cache can never serve wrong bytes. fsspec does the transport (`pip install fsspec s3fs`, say).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Any

from seit import files
from seit.errors import StoreError
from seit.store import manifest as manifests
from seit.store.entries import MAX_MANIFEST_BYTES, File, Manifest

DEFAULT_BYTES = 50 << 30
_ABANDONED = 3600  # seconds after which a half-fetched file has nobody who fetches it


def is_url(path: str | os.PathLike[str]) -> bool:
    """Says whether a path names another machine."""
    return "://" in os.fspath(path)


class RemoteFolder:
    """A remote store whose files appear in a local cache as they are needed.

    Args:
        url: the folder.
        limit: bytes that the cache may hold; the files used longest ago go first. A shuffled epoch asks for rows of
            all shards: less than all of them means fetching them again and again.

    The cache lies in `SEIT_CACHE`, else in ~/.cache/seit.
    """

    def __init__(self, url: str, limit: int = DEFAULT_BYTES) -> None:
        self.url, self.limit = url.rstrip("/"), limit
        self.cache = Path(os.environ.get("SEIT_CACHE") or Path.home() / ".cache" / "seit")
        self.system, self.root = _connect(self.url)

    def manifest(self) -> Manifest:
        """Fetches the manifest, always anew.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        where = f"{self.url}/{manifests.NAME}"
        try:
            if self.system.size(f"{self.root}/{manifests.NAME}") > MAX_MANIFEST_BYTES:
                raise StoreError("is too large for a manifest", where, "check the URL")
            data = self.system.cat_file(f"{self.root}/{manifests.NAME}")
        except FileNotFoundError:
            raise StoreError(
                "is not a token data set: it holds no manifest.json", self.url, "check the URL"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot be fetched ({str(error)[:120]})", where, "check the connection") from None
        return manifests.from_bytes(data, where)

    def fetch(self, file: File) -> Path:
        """Returns where a file of the store lies in the cache, fetching it if it does not.

        Raises:
            StoreError: it cannot be fetched, is not what the manifest says, or the disk is full.
        """
        path = self._place(file)
        try:
            os.utime(path)  # the time of last use decides what goes first
            return path
        except FileNotFoundError:
            pass
        where = f"{self.url}/{file.file}"
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            self._make_room(file.bytes)
            with files.atomic(path) as temporary:
                self.system.get_file(f"{self.root}/{file.file}", str(temporary))
                with open(temporary, "rb") as source:
                    digest = hashlib.file_digest(source, "sha256").hexdigest()
                if digest != file.sha256:
                    raise StoreError("is not what its manifest says", where, "upload the data set again")
        except FileNotFoundError:
            raise StoreError("is missing", where, "upload the data set again") from None
        except OSError as error:
            raise StoreError(
                f"cannot be fetched ({str(error)[:120]})", where, "check connection and disk"
            ) from None
        return path

    def holds(self, file: File) -> bool:
        """Says whether the cache has a file of the store."""
        return self._place(file).exists()

    def _place(self, file: File) -> Path:
        return self.cache / f"{file.sha256[:40]}-{file.file}"

    def _make_room(self, size: int) -> None:
        """Deletes the files used longest ago; their space is free once no reader maps them any more."""
        if size > self.limit:
            raise StoreError(f"a file of {size} bytes exceeds the cache of {self.limit}", self.url, "enlarge it")
        kept = []
        for path in self.cache.glob("*-*"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room as well
                state = path.stat()
                fetching = path.name.startswith(".")
                if fetching and time.time() - state.st_mtime > _ABANDONED:
                    path.unlink(missing_ok=True)
                elif not fetching:
                    kept.append((state.st_mtime, state.st_size, path))
        total = sum(bytes for _, bytes, _ in kept)
        for _, bytes, path in sorted(kept, key=lambda entry: entry[0]):
            if total + size <= self.limit:
                break
            total -= bytes
            path.unlink(missing_ok=True)


def upload(path: str | os.PathLike[str], url: str) -> str:
    """Copies a token data set to a URL, its manifest last: until then the place holds no data set.

    Args:
        path: a local folder.
        url: where to; it must hold no other data set.

    Returns:
        The URL.

    Raises:
        StoreError: the folder is no data set, or the URL already holds another one.
    """
    folder, url = Path(path), url.rstrip("/")
    manifest = manifests.read(folder / manifests.NAME)
    system, root = _connect(url)
    try:
        if system.exists(f"{root}/{manifests.NAME}"):
            if system.cat_file(f"{root}/{manifests.NAME}") == manifests.to_bytes(manifest):
                return url
            raise StoreError("already holds another token data set", url, "choose another URL")
        system.makedirs(root, exist_ok=True)
        for name in [*(file.file for file in manifest.files), manifests.NAME]:
            system.put_file(str(folder / name), f"{root}/{name}")
    except OSError as error:
        raise StoreError(
            f"cannot be written ({str(error)[:120]})", url, "check the connection and rights"
        ) from None
    return url


def _connect(url: str) -> tuple[Any, str]:
    """Opens the file system of a URL; returns it and the folder's path within."""
    try:
        import fsspec
    except ImportError:
        raise StoreError("needs fsspec", url, "pip install fsspec (and s3fs for s3://)") from None
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise StoreError(f"cannot be opened ({str(error)[:160]})", url, "install what it names") from None
