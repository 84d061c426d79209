"""Token data sets behind a URL (s3://, gs://, hf://, https://, file://): read through the cache, and uploaded.

A file is fetched whole when first needed and checked against the manifest's SHA-256; fsspec does the transport
(`pip install fsspec s3fs`, say).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from seit import files
from seit.errors import SeitError, StoreError
from seit.progress import progress
from seit.store import manifest as manifests
from seit.store.cache import Cache
from seit.store.entries import MAX_MANIFEST_BYTES, File, Manifest

DEFAULT_BYTES = 50 << 30
_PIECE = 32 << 20  # bytes asked for at a time

T = TypeVar("T")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Says whether a path names another machine."""
    return "://" in os.fspath(path)


def local_folder(path: str | os.PathLike[str], cure: str) -> Path:
    """Returns a path that must lie on this machine.

    Raises:
        StoreError: it is a URL; `cure` says what to do instead.
    """
    if is_url(path):
        raise StoreError("is a URL, and a place on this machine is needed", os.fspath(path), cure)
    return Path(path)


class RemoteFolder:
    """A remote data set whose files appear in the local cache as they are needed.

    Args:
        url: the folder.
        limit: bytes that the cache may hold. A shuffled epoch asks for rows of all shards: less than all of them
            means fetching them again and again.

    Attributes:
        url: the folder; of the hub, at the commit that was there when this was opened.
    """

    def __init__(self, url: str, limit: int = DEFAULT_BYTES) -> None:
        self.url, self.cache = _pinned(url.rstrip("/")), Cache(limit)
        self._connection: tuple[int, Any, str] = (-1, None, "")

    def manifest(self) -> Manifest:
        """Fetches the manifest, always anew.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        return manifests.from_bytes(self.must_exist(), f"{self.url}/{manifests.NAME}")

    def must_exist(self) -> bytes:
        """Fetches the bytes of the manifest.

        Raises:
            StoreError: there is none.
        """
        data = self.manifest_bytes()
        if data is None:
            raise StoreError("is not a token data set: it holds no manifest.json", self.url, "check the URL")
        return data

    def manifest_bytes(self) -> bytes | None:
        """Fetches the manifest as it is there, None if it is absent.

        Raises:
            StoreError: it cannot be fetched, or is too large for one.
        """
        where = f"{self.url}/{manifests.NAME}"
        with reaching(where):
            try:
                data = b"".join(self._pieces(manifests.NAME, MAX_MANIFEST_BYTES))
            except FileNotFoundError:
                return None
        if len(data) > MAX_MANIFEST_BYTES:
            raise StoreError("is too large for a manifest", where, "check the URL")
        return data

    def fetch(self, file: File) -> Path:
        """Returns the local copy of a file of the data set.

        Raises:
            StoreError: it cannot be fetched, is not what the manifest says, or the disk is full.
        """
        where = f"{self.url}/{file.file}"
        return self.cache.get(file, lambda: self._named_pieces(file, where), where)

    def read(self, file: File, reader: Callable[[Path], T]) -> T:
        """Returns what `reader` makes of the local copy; again if others evicted it before it was open.

        Raises:
            StoreError: as `fetch` and `reader`.
        """
        for _ in range(8):
            path = self.fetch(file)
            try:
                return reader(path)
            except (StoreError, FileNotFoundError):
                if path.exists():
                    raise
        return reader(self.fetch(file))

    def holds(self, file: File) -> bool:
        """Says whether the cache has a file of the data set."""
        return self.cache.holds(file)

    def fault(self, file: File) -> str:
        """Reads a remote file and returns what is wrong with it, "" if it is whole; the cache is left alone.

        Raises:
            StoreError: it cannot be reached.
        """
        digest, size = hashlib.sha256(), 0
        with reaching(f"{self.url}/{file.file}"):
            try:
                for piece in self._pieces(file.file, file.bytes):
                    digest.update(piece)
                    size += len(piece)
            except FileNotFoundError:
                return "is missing"
        if size != file.bytes:
            return f"has {f'{size} bytes' if size < file.bytes else 'more bytes'} instead of {file.bytes}"
        return "" if digest.hexdigest() == file.sha256 else "does not match its SHA-256"

    def system(self) -> tuple[Any, str]:
        """Returns fsspec's file system and the folder's path in it, connected by this very process."""
        if self._connection[0] != os.getpid():  # fsspec's connections do not survive a fork
            self._connection = (os.getpid(), *_connect(self.url))
        return self._connection[1:]

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:
        """Reads a remote file in order, at most one byte more than `size`, whatever the server sends."""
        system, root = self.system()
        left = size + 1
        try:
            source = system.open(f"{root}/{name}", "rb", block_size=0)  # 0: one stream, or just what is read
        except FileNotFoundError as error:  # over http whatever failed; the cause tells
            cause = error.__cause__ or error
            if type(cause).__module__.startswith("aiohttp") and getattr(cause, "status", 0) != 404:
                raise cause from None
            raise
        with source:
            while left and (piece := source.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece

    def _named_pieces(self, file: File, where: str) -> Iterator[bytes]:
        """Reads a file of the manifest; if it is gone, says whether the data set is damaged or has moved on."""
        with reaching(where):
            try:
                yield from self._pieces(file.file, file.bytes)
            except FileNotFoundError:
                if file.file in {other.file for other in self.manifest().files}:
                    raise StoreError("is missing", where, "upload the data set again") from None
                raise StoreError("has moved on since it was opened", self.url, "open it again") from None


def upload(path: str | os.PathLike[str], url: str) -> str:
    """Copies a token data set to a URL, its manifest last, or brings the copy there up to date.

    Readers see the old data set or the new one. Files that only the old manifest named are removed at the end;
    those of the generation before stay, as in the folder, for whoever has it open.

    Args:
        path: a local folder.
        url: where to; it must be free, or hold an earlier state of this data set.

    Returns:
        The URL.

    Raises:
        StoreError: the folder holds no data set or a damaged one, or the URL another one, or it cannot be written.
    """
    folder, url = local_folder(path, "push a folder"), url.rstrip("/")
    data, manifest = whole(folder)
    place = RemoteFolder(url)
    system, root = place.system()
    target = f"{root}/{manifests.NAME}"
    with reaching(url), _alone(system, root):
        seen = system.info(target) if system.exists(target) else None
        before = place.manifest_bytes()
        if before == data:
            return url
        there: set[str] = set()
        if before is not None:
            old = manifests.from_bytes(before, f"{url}/{manifests.NAME}")
            check_earlier(old, manifest, url)
            there = {file.file for file in (*old.files, *old.superseded)}
        with progress(sum(file.bytes for file in manifest.files), "upload", "bytes") as bar:
            for file in manifest.files:
                new = file.file in there or _create(system, f"{root}/{file.file}", folder / file.file)
                if not new and place.fault(file):  # an interrupted push leaves equal files
                    raise StoreError(
                        f"holds another {file.file}, which no manifest names",
                        url,
                        "remove it, or choose another URL",
                    )
                bar.update(file.bytes)
        _put_manifest(system, target, data, seen)
        for name in there - {file.file for file in (*manifest.files, *manifest.superseded)}:
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(f"{root}/{name}")
    return url


def whole(folder: Path) -> tuple[bytes, Manifest]:
    """Returns a local data set's manifest, its bytes too, after checking every file that it names.

    Raises:
        StoreError: there is no data set, or a file is damaged.
    """
    path = folder / manifests.NAME
    manifests.read(path)  # says what is wrong with a folder that holds none
    data = path.read_bytes()
    manifest = manifests.from_bytes(data, str(path))
    for file in manifest.files:
        try:
            with open(folder / file.file, "rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
        except FileNotFoundError:
            digest = ""
        if digest != file.sha256:
            raise StoreError("is damaged or missing", str(folder / file.file), "run seit verify, then seit repair")
    return data, manifest


def check_earlier(old: Manifest, new: Manifest, where: str) -> None:
    """Refuses to put `new` where `old` is, unless `old` is an earlier state of the same data set.

    Raises:
        StoreError: `old` is another data set, a later state, or one that grew apart from it.
    """
    names, before = {file.file for file in new.files}, {file.file for file in old.files}
    if _identity(old) != _identity(new) or (old.generation == new.generation and names != before):
        raise StoreError("already holds another token data set", where, "choose another place")
    apart = old.generation + 1 == new.generation and not before <= names | {file.file for file in new.superseded}
    fewer = any(rows > new.splits.get(split, 0) for split, rows in old.splits.items())
    if old.generation > new.generation or apart or fewer:
        raise StoreError("holds rows of this data set that are not here", where, "push the folder that has them")


def _identity(manifest: Manifest) -> tuple[Any, Any]:
    """Returns what stays while a data set grows or is repaired: what it was made of, and by which tokenizer."""
    return manifest.created.get("plan"), manifest.tokenizer["identity"]


@contextlib.contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turns whatever a transport raises (each library has errors of its own) into one line.

    Raises:
        StoreError: something was raised.
    """
    try:
        yield
    except SeitError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise StoreError(
            f"cannot be reached ({what})", where, "check the URL, the connection and rights"
        ) from error


def _connect(url: str) -> tuple[Any, str]:
    """Opens the file system of a URL; returns it and the folder's path within."""
    try:
        import fsspec
    except ImportError:
        raise StoreError("needs fsspec", url, "pip install fsspec (and s3fs for s3://)") from None
    if url.startswith("file://") and not url.startswith("file:///"):
        raise StoreError("is not a file URL", url, "write file:///, then the path from the root on")
    with reaching(url):
        try:
            system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StoreError(f"cannot be opened ({str(error)[:160]})", url, "install what it names") from None
        system.invalidate_cache()  # one object serves the whole process, and remembers old listings
    return system, root


def _pinned(url: str) -> str:
    """Returns a URL of the hub with the commit that its branch is at; any other URL as it is."""
    if not url.startswith("hf://") or re.search("@[0-9a-f]{40}", url):
        return url
    from huggingface_hub import HfApi

    with reaching(url):
        system, _ = _connect(url)
        place = system.resolve_path(url)
        if not hasattr(place, "repo_id"):  # a bucket, which has no commits
            return url
        commit = HfApi().repo_info(place.repo_id, repo_type=place.repo_type, revision=place.revision).sha
        prefix = "" if place.repo_type == "model" else f"{place.repo_type}s/"
        return f"hf://{prefix}{place.repo_id}@{commit}/{place.path_in_repo}".rstrip("/")


def _is_local(system: Any) -> bool:
    return "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))


def _alone(system: Any, root: str) -> contextlib.AbstractContextManager[None]:
    """Keeps other writers out where there are locks; object stores refuse a second writer's files themselves."""
    if not _is_local(system):
        return contextlib.nullcontext()
    os.makedirs(root, exist_ok=True)
    return files.lock(Path(root) / ".lock")


def _create(system: Any, target: str, source: Path) -> bool:
    """Puts a file, whole or not at all, where there is none yet; returns False if there is one."""
    if system.exists(target):
        return False
    if _is_local(system):
        with files.atomic(target) as temporary:
            shutil.copyfile(source, temporary)
        return True
    return _if_unchanged(partial(system.put_file, str(source), target), mode="create")


def _put_manifest(system: Any, target: str, data: bytes, seen: dict[str, Any] | None) -> None:
    """Puts the manifest in its place, provided that nothing came there since `seen`."""
    if _is_local(system):
        return files.write_bytes(target, data)
    condition = {"mode": "create"} if seen is None else {"IfMatch": seen["ETag"]} if "s3" in system.protocol else {}
    if not _if_unchanged(partial(system.pipe_file, target, data), **condition):
        url = system.unstrip_protocol(target)
        raise StoreError("was put there by another process meanwhile", url, "look, and push again")


def _if_unchanged(put: Callable[..., Any], **condition: str) -> bool:
    """Puts on a condition, or without one where the store knows none; returns False if it does not hold."""
    try:
        put(**condition)
    except OSError as error:
        code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
        if isinstance(error, FileExistsError) or code == "PreconditionFailed":
            return False
        if code != "NotImplemented":
            raise
        put()
    return True
