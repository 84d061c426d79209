"""Changing a store that stands: new files beside the old ones, then a new manifest in one rename.

Nothing that the old manifest names is touched before the new one stands, so a reader, a killed process or a full
disk sees the old data set or the new one. New files gather in the folder's `.writing`; the next writer removes what
a killed one left there. Files that a change replaces stay for one more generation, for readers that have it open.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from seit import files
from seit.errors import StoreError
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.dataset import TokenDataset
from seit.store.entries import File, Manifest
from seit.store.remote import is_url

WRITING = ".writing"
_LOCK = ".lock"
_CHUNK = 4096
_OWN = re.compile(r".*\.(arrow|safetensors|tmp)|manifest\.json")


@contextlib.contextmanager
def rewriting(path: str | os.PathLike[str]) -> Iterator[tuple[TokenDataset, Path]]:
    """Keeps other writers away from a token data set while it is changed.

    Args:
        path: its folder.

    Yields:
        The data set as it is, and an empty folder for new files, to be handed to `publish`.

    Raises:
        StoreError: no token data set, or the disk is full.
        BusyError: another process is changing it.
    """
    if is_url(path):
        raise StoreError("is not on this machine", os.fspath(path), "change a local copy, then seit push it")
    folder = Path(path)
    manifests.read(folder / manifests.NAME)
    with disk_errors(folder), files.lock(folder / _LOCK):
        data = TokenDataset(folder)
        writing = folder / WRITING
        _clear(folder, writing, data.manifest)
        writing.mkdir()
        try:
            yield data, writing
        finally:
            _clear(folder, writing, manifests.read(folder / manifests.NAME))


def _clear(folder: Path, writing: Path, manifest: Manifest) -> None:
    """Removes what a writer that did not finish left: its new files, wherever it got them to, and nothing else."""
    if not writing.is_dir():
        return
    standing = {file.file for file in (*manifest.files, *manifest.superseded)}
    with contextlib.suppress(StoreError):  # without a whole manifest no file was moved
        for file in manifests.read(writing / manifests.NAME).files:
            if file.file not in standing:
                (folder / file.file).unlink(missing_ok=True)
    for left in writing.iterdir():
        if _OWN.fullmatch(left.name):
            left.unlink()
    try:
        writing.rmdir()
    except OSError:
        raise StoreError("holds files that seit did not write", str(writing), "move them away") from None


def publish(folder: Path, writing: Path, old: Manifest, new: Manifest) -> Manifest:
    """Makes a changed manifest the folder's state, after reading back what it adds.

    Args:
        folder: the data set.
        writing: the folder of the new files.
        old: the manifest that stands.
        new: what shall stand; generation, codecs and superseded are set here.

    Returns:
        The manifest that stands now.

    Raises:
        StoreError: a reader would refuse what is to be published; the old data set stands.
    """
    named = {file.file for file in new.files}
    superseded = [file for file in old.files if file.file not in named]
    new = replace(_without_idle_codecs(new), generation=old.generation + 1, superseded=superseded)
    added = [file for file in new.files if (writing / file.file).exists()]
    read_back(Pending(folder, writing, new), added)
    manifests.write(writing, new)
    for file in added:
        os.replace(writing / file.file, folder / file.file)
    files.sync_folder(folder)
    os.replace(writing / manifests.NAME, folder / manifests.NAME)
    files.sync_folder(folder)
    kept = named | {file.file for file in superseded}
    for file in old.superseded:
        if file.file not in kept:
            (folder / file.file).unlink(missing_ok=True)
    return new


def _without_idle_codecs(manifest: Manifest) -> Manifest:
    """Drops codecs that no shard uses, and numbers the others anew."""
    used = sorted({shard.codec for shard in manifest.shards})
    number = {old: new for new, old in enumerate(used)}
    shards = [replace(shard, codec=number[shard.codec]) for shard in manifest.shards]
    return replace(manifest, codecs=[manifest.codecs[i] for i in used], shards=shards)


class Pending(TokenDataset):
    """A data set as it will be: its manifest is not in place yet, and its new files lie in `writing`."""

    def __init__(self, folder: Path, writing: Path, manifest: Manifest) -> None:
        self.path, self.split, self._cache_bytes = str(folder), None, 0
        self._mapped = self._check = True
        self._writing = writing
        self._connect()
        self._open(manifests.from_bytes(manifests.to_bytes(manifest), str(folder)))

    def local(self, file: File) -> Path:
        pending = self._writing / file.file
        return pending if pending.exists() else super().local(file)


def read_back(data: TokenDataset, added: list[File]) -> None:
    """Opens what is to be published as a reader will, and compares every row with its checksum.

    Decoding is several times as fast as encoding, so this costs little beside what it follows.

    Raises:
        StoreError: a reader would refuse it.
    """
    names = {file.file for file in added}
    if data.manifest.codebook and data.manifest.codebook.file in names:
        _ = data.codebook
    for shard in data.manifest.shards:
        if shard.rows and not names.isdisjoint({shard.data.file, shard.side.file}):
            reader, (_, checks) = data.reader(shard), data.side_table(shard)
            for first in range(0, shard.rows, _CHUNK):
                rows = np.arange(first, min(first + _CHUNK, shard.rows))
                if (side.checks(reader.decode(rows), reader.labels_at(rows)) != checks[rows]).any():
                    raise StoreError("was not written as it was meant", shard.data.file, "check disk and memory")


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns the system's refusals (full disk, no permission) into one clear line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror or error}",
            str(error.filename or folder),
            "mend that and run the same command again: finished shards are kept",
        ) from error
