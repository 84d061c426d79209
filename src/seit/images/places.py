"""Where the bytes of one image lie, and how they are read: a file, a member of an archive, a row of a table, a URL.

A path with `://` is opened by fsspec (the extra `remote`), any other one by the system.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from seit.errors import ImageError, SeitError


@dataclass(frozen=True, slots=True)
class Place:
    """Reads one image's bytes. It pickles, and a listing keeps it as plain columns.

    Attributes:
        how: "file" (`inner` below the folder `container`), "member" (`stored` bytes at `offset` of the archive
            `container`), "deflated" (a member that inflates to `size`), "row" (row `offset` of column `inner` of
            the table `container`), "url" or "private-url" (`inner`; the latter also from hosts of a private
            network), "broken" (cannot be read where `container` says, for the reason `inner`).
        container: a folder, archive or table; empty for a URL.
        inner: its name in there.
        offset, stored, size: see above.
    """

    how: str
    container: str
    inner: str
    offset: int = 0
    stored: int = 0
    size: int = 0

    def __call__(self) -> bytes:
        """Returns the bytes.

        Raises:
            ImageError: they are gone, cut off, damaged, or may not be read.
        """
        return _READERS[self.how](self)

    @property
    def where(self) -> str:
        """What an error calls it."""
        if self.how in ("url", "private-url"):
            return self.inner
        if self.how == "broken":
            return self.container
        if self.how == "file":
            return joined(self.container, self.inner)
        return f"{self.container}: {f'row {self.offset}' if self.how == 'row' else self.inner}"


def joined(folder: str, name: str) -> str:
    """Returns a path below a folder; absolute ones and URLs stay what they are."""
    if not folder or name.startswith("/") or is_remote(name):
        return name
    return f"{folder.rstrip('/')}/{name}"


def is_remote(path: str) -> bool:
    """Says whether fsspec opens this path."""
    return "://" in path


def opened(path: str) -> BinaryIO:
    """Opens a local or remote file for reading, unbuffered where it is local.

    Raises:
        OSError: it cannot be opened.
        ImageError: fsspec, or the library behind it, is not installed or does not know the protocol.
    """
    if not is_remote(path):
        return open(path, "rb", buffering=0)  # type: ignore[return-value]
    system, inside = remote(path)
    return system.open(inside, "rb")


def remote(path: str) -> tuple[Any, str]:
    """Returns fsspec's file system behind a path, and the path in it.

    Raises:
        ImageError: fsspec, or the library behind it, is not installed or does not know the protocol.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        what = str(error).partition("\n")[0][:200]
        raise ImageError(
            f"cannot be opened ({what})", path, "pip install 'seit[remote]', or copy it here"
        ) from None


def _file(place: Place) -> bytes:
    def read() -> bytes:
        if not is_remote(place.where) and not stat.S_ISREG(os.stat(place.where).st_mode):
            raise ImageError("not a regular file", place.where, "remove it")  # opening a pipe can hang
        with opened(place.where) as file:
            return file.read()

    return _guarded(read, place.where, "restore or remove it")


def _broken(place: Place) -> bytes:
    cures = {"its name is not UTF-8": "rename the file", "encrypted or oddly compressed": "make the zip again"}
    cures["a link or a special file"] = "make the tar with `tar -h --hard-dereference`"
    raise ImageError(place.inner, place.container, cures.get(place.inner, "replace or remove it"))


def _member(place: Place) -> bytes:
    def read() -> bytes:
        with opened(place.container) as file:
            file.seek(place.offset)
            return file.read(place.stored)

    data = _guarded(read, place.where, "restore the archive")
    if place.how == "deflated":
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, place.size)
        except zlib.error as error:
            raise ImageError("the archive is damaged here", place.where, "copy the archive again") from error
    if len(data) != place.size:
        cure = "the archive is cut off; copy it again"
        raise ImageError(f"{len(data)} of {place.size} bytes", place.where, cure)
    return data


def _row(place: Place) -> bytes:
    from seit.images.tables import cell

    return _guarded(lambda: cell(place.container, place.inner, place.offset), place.where, "write the table again")


def _url(place: Place) -> bytes:
    from seit.images.web import fetch

    return fetch(place.inner, private=place.how == "private-url")


def _guarded(read: Callable[[], bytes], where: str, cure: str) -> bytes:
    """Turns whatever a file system or Arrow raises into one line."""
    try:
        return read()
    except SeitError:
        raise
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", where, cure) from error
    except Exception as error:  # the libraries behind fsspec have families of their own
        raise ImageError(f"cannot be read ({type(error).__name__}: {str(error)[:120]})", where, cure) from error


_READERS: dict[str, Callable[[Place], bytes]] = {
    "file": _file,
    "member": _member,
    "deflated": _member,
    "row": _row,
    "url": _url,
    "private-url": _url,
    "broken": _broken,
}
