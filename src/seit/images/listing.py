"""The files of a folder, the members of a tar or zip: their names, and where the bytes of each one lie.

Nothing is ever extracted. Of an archive only the index is read, with each member's place in the file; a member's
name is a key and never becomes a path on disk.
"""

from __future__ import annotations

import functools
import mimetypes
import os
import re
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL import Image as Pillow

from seit.errors import ImageError
from seit.images.account import HIDDEN, OTHER, OVERWRITTEN, UNDECODABLE, Account
from seit.images.places import Place, is_remote, opened, remote
from seit.images.view import FORMATS

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
# Pictures that no Pillow reads by itself; most others of the kind are known to `mimetypes` as image/...
_CAMERAS = {".hif", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dng", ".dcm", ".exr", ".hdr"}
_ORDINARY = re.compile(r"\.[a-z][a-z0-9]{1,7}")
_RECOGNIZED = tuple(name for name in FORMATS if name not in ("DIB", "PCX", "TGA"))  # these begin like other files
# How gzip, bzip2, xz and zstandard files start.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
# No picture's file is larger; a deflated member that claims to be could fill the memory.
_LARGEST_MEMBER = 1 << 30


@dataclass
class Files:
    """What lies below a folder; whatever is neither picture nor container is in the account already.

    Attributes:
        names: of pictures, paths with forward slashes.
        broken: names of pictures that cannot be read -> why.
        tars, tables: paths of these.
        undecodable: folder -> how many pictures in it are of an ending that is not decoded here.
    """

    names: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    tars: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    undecodable: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, account: Account) -> None:
        """Sorts one file in by its name."""
        reason, lower = reason_to_leave(name), name.lower()
        if reason is None:
            self.names.append(name)
        elif reason is OTHER and lower.endswith(".tar"):
            self.tars.append(name)
        elif reason is OTHER and lower.endswith(TABLES):
            self.tables.append(name)
        else:
            account.leave(reason, name)
            if reason is UNDECODABLE:
                self.undecodable[name.rpartition("/")[0]] += 1


@functools.cache
def _endings() -> frozenset[str]:
    """Returns the endings of the formats that are decoded, as Pillow knows them; an MPO file is a JPEG and more."""
    Pillow.init()
    return frozenset(ending for ending, name in Pillow.registered_extensions().items() if name in (*FORMATS, "MPO"))


def reason_to_leave(name: str) -> str | None:
    """Says by a path's ending why it is not taken for a picture; None if it is."""
    if name.startswith((".", "__MACOSX/")) or "/." in name:
        return HIDDEN
    ending = os.path.splitext(name)[1].lower()
    if ending in _endings():
        return None
    kind = mimetypes.guess_type(f"x{ending}")[0] or ""
    return UNDECODABLE if kind.startswith("image/") or ending in _CAMERAS else OTHER


def list_folder(root: str, account: Account, by_content: bool = False) -> Files:
    """Lists what lies below a local or remote folder, links followed.

    Args:
        root: the folder.
        account: gets everything that is neither picture nor container.
        by_content: look into every file whose ending is no picture's; otherwise only into those without an ending
            that could be one.

    Raises:
        ImageError: a folder cannot be listed or links to one above it.
    """
    files = Files()
    if is_remote(root):
        for name in _remote_names(root):
            files.add(name, account)
        return files
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while stack:
        prefix, above = stack.pop()
        folder = os.path.join(root, prefix)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in above:
                if reason_to_leave(prefix) is HIDDEN:
                    continue
                raise ImageError("this link leads back to a folder above it", folder, "remove the link")
            above = (*above, (status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        stack.append((f"{prefix}{entry.name}/", above))
                    else:
                        _add_file(files, prefix + entry.name, entry, by_content, account)
        except OSError as error:
            if reason_to_leave(prefix) is not HIDDEN:
                raise ImageError(f"cannot be listed ({error.strerror})", folder, "check its rights") from error
    return files


def _add_file(files: Files, path: str, entry: os.DirEntry[str], by_content: bool, account: Account) -> None:
    """Adds one file of a local folder."""
    name, is_text = recordable(path)
    before, reason = len(files.names), reason_to_leave(name)
    ending = os.path.splitext(name)[1].lower()
    odd = by_content if _ORDINARY.fullmatch(ending) else reason is OTHER
    if reason not in (None, HIDDEN) and odd and ending not in _CAMERAS and entry.is_file() and opens(entry.path):
        files.names.append(name)
    else:
        files.add(name, account)
    if len(files.names) > before:
        if not is_text:
            files.broken[name] = "its name is not UTF-8"
        elif not entry.is_file():  # opening a pipe or a device can hang
            files.broken[name] = "not a regular file (a broken link?)"


def opens(file: str | BinaryIO) -> bool:
    """Says whether a file starts as a picture does."""
    try:
        with Pillow.open(file, formats=_RECOGNIZED):
            return True
    except Exception:  # on what is no picture Pillow's plug-ins raise nearly anything
        return False


def _remote_names(root: str) -> list[str]:
    """Lists the files below a remote folder."""
    system, inside = remote(root)
    try:
        paths = system.find(inside)
    except Exception as error:  # the libraries behind fsspec have families of their own
        raise ImageError(f"cannot be listed ({str(error)[:120]})", root, "check the URL and its rights") from error
    start = len(inside.rstrip("/")) + 1
    return [path[start:] for path in paths]


def list_archive(path: str, account: Account) -> dict[str, Place]:
    """Lists the members of an uncompressed tar, or of a zip, without extracting anything.

    Args:
        path: the archive.
        account: gets members that a later one of the same name replaces.

    Returns:
        name -> place, in the archive's order.

    Raises:
        ImageError: no readable tar or zip; a compressed tar (its members cannot be read out of order); a member
            that lies behind the archive's end, or is named absolutely or through `..`.
    """
    members: dict[str, Place] = {}
    try:
        with opened(path) as file:
            start = file.read(8)
            total = file.seek(0, os.SEEK_END)
        if start.startswith(_COMPRESSED):
            raise ImageError("a compressed tar cannot be read out of order", path, "decompress it first")
        for name, place in _zip_members(path) if start.startswith(b"PK\x03\x04") else _tar_members(path):
            if name in members:
                account.leave(OVERWRITTEN, name)
            members[name] = place
            if min(place.offset, place.stored, place.size) < 0 or place.offset + place.stored > total:
                raise ImageError(f"{name} ends behind the archive", path, "it is cut off; copy it again")
            if place.size > _LARGEST_MEMBER and reason_to_leave(name) is None:
                raise ImageError(f"{name} is too large for a picture", path, "remove it")
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", path, "check the file") from error
    except (tarfile.TarError, zipfile.BadZipFile, struct.error, ValueError, OverflowError) as error:
        raise ImageError(
            f"no readable tar or zip ({error})", path, "give a folder, tar, zip, table or list"
        ) from error
    return members


def _tar_members(path: str) -> Iterator[tuple[str, Place]]:
    """Reads a tar's headers one by one, keeping none of them."""
    with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else every header stays in memory
            name, is_text = recordable(_safe(member.name, path))
            if member.isdir():
                continue
            if not is_text:
                yield name, Place("broken", path, "its name is not UTF-8")
            elif not member.isreg() or member.issparse():
                yield name, Place("broken", path, "a link or a special file")
            else:
                yield name, Place("member", path, name, member.offset_data, member.size, member.size)


def _zip_members(path: str) -> Iterator[tuple[str, Place]]:
    """Reads a zip's index, and of each member the local header, which alone tells where its bytes start."""
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            # Old Windows tools write backslashes, and unzip takes them for slashes, too.
            name, _ = recordable(_safe(member.filename.replace("\\", "/"), path))
            if name.endswith("/"):
                continue
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield name, Place("broken", path, "encrypted or oddly compressed")
                continue
            file.seek(member.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            offset = member.header_offset + 30 + name_length + extra_length
            how = "deflated" if member.compress_type == zipfile.ZIP_DEFLATED else "member"
            yield name, Place(how, path, name, offset, member.compress_size, member.file_size)


def _safe(name: str, path: str) -> str:
    """Drops a leading `./`; refuses names that would leave a folder if somebody extracted or exported them."""
    name = name.removeprefix("./")
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/") or name[1:3] == ":\\":
        raise ImageError(f"the member name {name!r} is unsafe", path, "do not trust this archive")
    return name


def recordable(name: str) -> tuple[str, bool]:
    """Returns a name as it can be written down, and whether it is the name itself: bytes that are not UTF-8 are
    spelt out."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), False
    return name, True
