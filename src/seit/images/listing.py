"""The pictures of a folder, tar or zip: their names, and the place of each one's bytes.

Nothing is ever extracted. Of an archive only the index is read, with each member's place in the file; a
member's name is a key and never becomes a path on disk.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
from collections.abc import Iterator

from seit.errors import ImageError
from seit.images.places import Place, is_remote, opened, remote

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
# How gzip, bzip2, xz and zstandard files start.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
# No picture's file is larger; a deflated member that claims to be could fill the memory.
LARGEST_MEMBER = 1 << 30


def is_picture(name: str) -> bool:
    """Says whether a path inside a source is taken for a picture: by its ending, hidden files excluded."""
    if not name.lower().endswith(ENDINGS):
        return False
    return not (name.startswith((".", "__MACOSX/")) or "/." in name)


def list_folder(root: str) -> list[str]:
    """Lists the pictures below a folder, links followed, as paths with forward slashes.

    Raises:
        ImageError: a folder cannot be listed or links to one above it; a picture's name belongs to no file.
    """
    if is_remote(root):
        return _list_remote(root)
    names: list[str] = []
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while stack:
        prefix, above = stack.pop()
        folder = os.path.join(root, prefix)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in above:
                raise ImageError("this link leads back to a folder above it", folder, "remove the link")
            above = (*above, (status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        stack.append((name + "/", above))
                    elif is_picture(name):
                        _check_file(entry)
                        names.append(_recordable(name, root))
        except OSError as error:
            raise ImageError(f"cannot be listed ({error.strerror})", folder, "check its permissions") from error
    return names


def _list_remote(root: str) -> list[str]:
    """Lists the pictures below a remote folder."""
    system, inside = remote(root)
    try:
        found = system.find(inside)
    except Exception as error:  # the libraries behind fsspec have families of their own
        raise ImageError(f"cannot be listed ({str(error)[:120]})", root, "check the URL and its rights") from error
    start = len(inside.rstrip("/")) + 1
    return [_recordable(name[start:], root) for name in found if is_picture(name[start:])]


def _check_file(entry: os.DirEntry[str]) -> None:
    """Refuses pipes, devices and broken links that are named like pictures: opening one can hang."""
    if not entry.is_file():
        raise ImageError("not a regular file (a broken link?)", entry.path, "remove it")


def list_archive(path: str) -> dict[str, Place]:
    """Lists the pictures in an uncompressed tar, or in a zip, without extracting anything.

    Returns:
        name -> place. Of members with equal names the last counts, as when extracting.

    Raises:
        ImageError: no readable tar or zip; a compressed tar (its members cannot be read out of order); a
            picture that is a link, encrypted, or named absolutely or through `..`.
    """
    try:
        with opened(path) as file:
            start = file.read(8)
            total = file.seek(0, os.SEEK_END)
        if start.startswith(COMPRESSED):
            raise ImageError("a compressed tar cannot be read out of order", path, "decompress it first")
        members = _zip_members(path) if start.startswith(b"PK\x03\x04") else tar_members(path)
        found = {member.inner: member for member in members if is_picture(member.inner)}
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", path, "check the file") from error
    except (tarfile.TarError, zipfile.BadZipFile, struct.error, ValueError, OverflowError) as error:
        raise ImageError(f"no readable tar or zip ({error})", path, "give a folder, tar or zip") from error
    for member in found.values():
        if min(member.offset, member.stored, member.size) < 0 or member.offset + member.stored > total:
            raise ImageError(f"{member.inner} ends behind the archive", path, "it is cut off; copy it again")
        if member.size > LARGEST_MEMBER:
            raise ImageError(f"{member.inner} is too large for a picture", path, "remove it")
    return found


def tar_members(path: str, all_files: bool = False) -> Iterator[Place]:
    """Reads a tar's headers one by one, keeping none of them.

    Args:
        path: the tar.
        all_files: yield also what is no picture.

    Raises:
        ImageError: a picture is a link or a special file, or a name is unsafe.
    """
    with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else every header stays in memory
            name = _safe(member.name, path)
            if member.isdir() or not (all_files or is_picture(name)):
                continue
            if not member.isreg() or member.issparse():
                if not is_picture(name):
                    continue
                raise ImageError(
                    f"{name} is a link or a special file",
                    path,
                    "make the tar with `tar -h --hard-dereference`",
                )
            yield Place("member", path, name, member.offset_data, member.size, member.size)


def _zip_members(path: str) -> Iterator[Place]:
    """Reads a zip's index, and of each picture the local header, which alone tells where its bytes start."""
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = _safe(member.filename, path)
            if member.is_dir() or not is_picture(name):
                continue
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ImageError(f"{name} is encrypted or oddly compressed", path, "make the zip again")
            file.seek(member.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            offset = member.header_offset + 30 + name_length + extra_length
            how = "deflated" if member.compress_type == zipfile.ZIP_DEFLATED else "member"
            yield Place(how, path, name, offset, member.compress_size, member.file_size)


def _safe(name: str, path: str) -> str:
    """Takes a leading `./` off; refuses names that would leave a folder if somebody extracted or exported them."""
    name = name.removeprefix("./")
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/") or name[1:3] == ":\\":
        raise ImageError(f"the member name {name!r} is unsafe", path, "do not trust this archive")
    return _recordable(name, path)


def _recordable(name: str, where: str) -> str:
    """Refuses names that are no UTF-8, for they could not be written down in a token data set."""
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ImageError(f"the name {name!r} is not UTF-8", where, "rename the file") from error
    return name
