"""Reading a token data set: memory-mapped, any row at any time, without torch."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from seit.codecs.base import id_type
from seit.errors import StoreError, nearest_names
from seit.store import codebook as codebooks
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.codebook import to_ranges
from seit.store.entries import File, Manifest, Shard
from seit.store.remote import DEFAULT_BYTES, RemoteFolder, is_url
from seit.store.row_sequence import hashed
from seit.store.rows import RowTable
from seit.store.shard import ShardReader
from seit.store.token_rows import TokenRows

T = TypeVar("T")


class TokenDataset(TokenRows):
    """The rows of a token data set, or of one of its splits; map-style, torch-free, cheap to pickle.

    A data set that is appended to while it is open keeps its rows: the files of the version before stay for one
    generation. Pickling carries the manifest, so that other processes see the same version.

    Args:
        path: its folder, or a URL (see `seit.store.remote`).
        split: one of its splits; all of them, one after another, if None.
        cache_bytes: what the local cache of a URL's files may hold.
        mapped: share the shards' pages with other processes; False reads each shard into memory, for file systems
            on which files may be cut short under a reader (a mapped file's missing page kills the process).
        check: compare every block and label with its checksum before using it.

    Attributes:
        manifest: what is known without opening shards.
        splits: rows of each split.
        remote: the folder behind a URL, or None.
        shape: cells of a row along each axis; `grid` is the plane that `ids` returns.

    Raises:
        StoreError: no token data set, a damaged manifest, or no such split.

    Example:
        >>> train = TokenDataset("photos.tokens", "train")
        >>> ids, label = train[0]               # uint16 [32, 32], int
        >>> ids, labels = train.batch([5, 1])   # uint16 [2, 32, 32], int64 [2]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        cache_bytes: int = DEFAULT_BYTES,
        mapped: bool = True,
        check: bool = True,
    ) -> None:
        self.path, self.split, self._cache_bytes = os.fspath(path), split, cache_bytes
        self._mapped, self._check = mapped, check
        self._connect()
        self._open(self._current_manifest())

    def _connect(self) -> None:
        self.remote = RemoteFolder(self.path, self._cache_bytes) if is_url(self.path) else None
        self.path = self.remote.url if self.remote else self.path  # of the hub, pinned to a commit
        self._lock = threading.Lock()

    def _current_manifest(self) -> Manifest:
        return self.remote.manifest() if self.remote else manifests.read(Path(self.path) / manifests.NAME)

    def _open(self, manifest: Manifest) -> None:
        self.manifest, self.splits = manifest, manifest.splits
        if self.split is not None and self.split not in self.splits:
            raise StoreError(f"no split {self.split!r}", self.path, nearest_names(self.split, self.splits))
        self.shape, self.grid, self.vocabulary = manifest.shape, manifest.grid, manifest.vocabulary
        self.used_codes, self.full_vocabulary = manifest.used_codes, manifest.full_vocabulary
        self.classes, self.label_kind = manifest.classes, manifest.labels
        self.views, self.tokenizer, self.source = manifest.views, manifest.tokenizer, manifest.source
        self._entries = [s for s in manifest.shards if self.split in (None, s.split) and s.rows]
        self._starts = np.cumsum([0] + [shard.rows for shard in self._entries])
        self._readers: dict[int, ShardReader] = {}
        self._codecs: dict[bytes, Any] = {}
        self._numbered: dict[int, Any] = {}  # what `codec` returned
        self._side: tuple[str, RowTable] | None = None  # the side table read last

    def __getstate__(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in ("path", "split", "_cache_bytes", "_mapped", "_check")}
        return options | {"manifest": manifests.to_bytes(self.manifest)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        manifest = manifests.from_bytes(state.pop("manifest"), state["path"])
        self.__dict__ |= state
        self._connect()
        self._open(manifest)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def counts(self) -> np.ndarray:
        """int64 [K]: how often each stored id occurs in the whole data set."""
        return self.manifest.code_counts

    @cached_property
    def codebook(self) -> np.ndarray | None:  # type: ignore[override]
        """float32 [K, d]: the vectors of the stored ids, or None.

        Raises:
            StoreError: the file is absent or damaged.
        """
        if self.manifest.codebook is None:
            return None
        file = self.manifest.codebook

        def read(path: Path) -> np.ndarray:
            if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                raise StoreError("does not match its SHA-256", str(path), "run seit verify, then seit repair")
            return codebooks.read(path, self.vocabulary)

        return self._read(file, read)

    def ids(self, indices: Any) -> np.ndarray:
        indices = self.checked(indices)
        groups = self._by_shard(indices)
        if len(groups) == 1 and isinstance(groups[0][1], slice):
            return self._shard(groups[0][0]).decode(groups[0][2]).astype(id_type(self.vocabulary), copy=False)
        out = np.empty((len(indices), *self.grid), id_type(self.vocabulary))
        for number, here, rows in groups:
            out[here] = self._shard(number).decode(rows)
        return out

    def labels_at(self, indices: Any) -> np.ndarray | None:
        indices = self.checked(indices)
        if self.label_kind == "none":
            return None
        kind = np.int64 if self.label_kind == "class" else bool if self.label_kind == "multi" else np.float32
        shape = (len(indices),) if self.label_kind == "class" else (len(indices), len(self.classes))
        out = np.empty(shape, kind)
        for number, here, rows in self._by_shard(indices):
            out[here] = self._shard(number).labels_at(rows)
        return out

    def rows_at(self, indices: Any) -> RowTable:
        indices = self.checked(indices)
        places, tables = [], []
        for number, here, rows in self._by_shard(indices):
            entry = self._entries[number]
            if self._side is None or self._side[0] != entry.side.file:
                self._side = entry.side.file, self.side_table(entry)[0]
            table = self._side[1]
            places.append(np.arange(len(indices))[here])
            tables.append(table.take(rows))
        if not tables:
            return RowTable.named([])
        return RowTable.join(tables).take(np.argsort(np.concatenate(places), kind="stable"))

    def bytes_at(self, indices: Any) -> np.ndarray:
        """Returns the payload bytes of the given rows, float64 [n]; rows of one block share its bytes."""
        indices = self.checked(indices)
        out = np.empty(len(indices))
        for number, here, rows in self._by_shard(indices):
            out[here] = self._shard(number).row_bytes()[rows]
        return out

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        shards = [f"{shard.split} {shard.rows} {shard.data.sha256}" for shard in self._entries]
        rest = [str(self.shape), to_ranges(self.used_codes), *self.classes]
        return hashed("data set", str(self.tokenizer["identity"]), *rest, *shards)

    def _by_shard(self, indices: np.ndarray) -> list[tuple[int, Any, np.ndarray]]:
        """Groups row numbers by shard: (shard, places in `indices`, rows of that shard)."""
        if not len(indices):
            return []
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        first = int(owner[0])
        if (owner == first).all():
            return [(first, slice(None), indices - self._starts[first])]
        order = np.argsort(owner, kind="stable")
        cuts = np.flatnonzero(np.diff(owner[order])) + 1
        return [
            (int(owner[here[0]]), here, indices[here] - self._starts[owner[here[0]]])
            for here in np.split(order, cuts)
        ]

    def _shard(self, number: int) -> ShardReader:
        """Returns a shard of this split, opening it the first time."""
        reader = self._readers.get(number)
        if reader is None:
            reader = self.reader(self._entries[number])
            with self._lock:
                self._readers[number] = reader
                if self.remote:  # a mapped file keeps its place on the disk: let go of what the cache gave up
                    kept = {n: r for n, r in self._readers.items() if self.remote.holds(self._entries[n].data)}
                    self._readers = kept
        return reader

    def reader(self, shard: Shard) -> ShardReader:
        """Opens any shard of the manifest.

        Raises:
            StoreError: it is absent or damaged.
        """
        path = self.local(shard.data)
        try:
            return ShardReader(path, shard, self.manifest, self._load_codec, self._mapped, self._check)
        except FileNotFoundError:
            raise self._missing(path) from None

    def salvage(self, shard: Shard) -> ShardReader | None:
        """Opens a shard that may be damaged; None if it is absent or cannot be opened."""
        try:
            path = self.local(shard.data)
            return ShardReader(
                path, shard, self.manifest, self._load_codec, self._mapped, self._check, salvage=True
            )
        except (FileNotFoundError, StoreError):
            return None

    def side_table(self, shard: Shard) -> tuple[RowTable, np.ndarray]:
        """Reads any shard's table of names, and the checks of its rows, uint32 [rows].

        Raises:
            StoreError: it is absent or damaged.
        """
        return self._read(shard.side, lambda path: side.read_side(path, shard.rows))

    def codec(self, number: int) -> Any:
        """Returns codec `number` of the manifest, from any shard whose copy is whole; None if there is none."""
        if number not in self._numbered:
            readers = (self.salvage(shard) for shard in self.manifest.shards if shard.codec == number)
            copies = (reader.codec_bytes() for reader in readers if reader is not None)
            data = next((copy for copy in copies if copy is not None), None)
            self._numbered[number] = None if data is None else self._load_codec(data)
        return self._numbered[number]

    def _load_codec(self, data: bytes) -> Any:
        """Returns the codec of some bytes; shards with the same codec share one."""
        from seit import codecs  # numba: only who decodes pays for it

        with self._lock:
            codec = self._codecs.get(data)
            if codec is None:
                codec = codecs.load(data)
                # codecs take two codes or more; those of before an append know fewer codes than the store by now
                if codec.vocabulary > max(2, self.vocabulary) or tuple(codec.grid) != self.grid:
                    what = f"carries a codec of {codec.vocabulary} codes on {codec.grid}"
                    raise StoreError(what, self.path, "run seit verify, then seit repair")
                self._codecs[data] = codec
        return codec

    def local(self, file: File) -> Path:
        """Returns where a file of the store lies on this machine."""
        return self.remote.fetch(file) if self.remote else Path(self.path) / file.file

    def _read(self, file: File, reader: Callable[[Path], T]) -> T:
        """Returns what `reader` makes of a file of the store; a URL's cache may lose it in between."""
        if self.remote:
            return self.remote.read(file, reader)
        path = self.local(file)
        try:
            return reader(path)
        except FileNotFoundError:
            raise self._missing(path) from None

    def _missing(self, path: Path) -> StoreError:
        """Explains why a file that the manifest names is not there."""
        try:
            now = self._current_manifest().generation
        except StoreError as error:
            return error
        if now != self.manifest.generation:
            what = f"has moved on from generation {self.manifest.generation} to {now} since it was opened"
            return StoreError(what, self.path, "open it again")
        return StoreError("is missing", str(path), "run seit repair, or copy the data set again")
