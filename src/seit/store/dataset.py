"""TokenDataset: opens a token data set folder (or URL) and decodes any of its rows.

Opening reads the manifest and the codebook; a shard is mapped when one of its rows is first asked for. Memory
holds no index: offsets, labels and payloads stay file-backed pages that worker processes share.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from seit.errors import StoreError, nearest_names
from seit.store import codebook as codebooks
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.manifest import CodecFile, File, Manifest, Shard
from seit.store.remote import DEFAULT_BYTES, RemoteFolder, is_url
from seit.store.rows import RowTable
from seit.store.shard import ShardReader
from seit.store.token_rows import TokenRows, hashed


class TokenDataset(TokenRows):
    """The rows of a token data set, or of one of its splits; map-style, torch-free, cheap to pickle.

    Args:
        path: its folder, or a URL (see `seit.store.remote`).
        split: one of its splits; all of them, one after another, if None.
        cache_bytes: what the local cache of a URL's files may hold.

    Attributes:
        manifest: what is known without opening shards.
        splits: rows of each split.

    Raises:
        StoreError: no token data set, a damaged manifest, or no such split.

    Example:
        >>> train = TokenDataset("photos.tokens", "train")
        >>> ids, label = train[0]               # uint16 [32, 32], int
        >>> ids, labels = train.batch([5, 1])   # uint16 [2, 32, 32], int64 [2]
    """

    def __init__(
        self, path: str | os.PathLike[str], split: str | None = None, cache_bytes: int = DEFAULT_BYTES
    ) -> None:
        self.path, self.split, self._cache_bytes = os.fspath(path), split, cache_bytes
        self._folder = Path(path)
        self._remote = RemoteFolder(self.path, cache_bytes) if is_url(path) else None
        self.path = self._remote.url if self._remote else self.path  # of the hub, pinned to a commit
        self._lock = threading.Lock()
        self._open(self._remote.manifest() if self._remote else manifests.read(self._folder / manifests.NAME))

    def _open(self, manifest: Manifest) -> None:
        self.manifest, self.splits = manifest, manifest.splits
        if self.split is not None and self.split not in self.splits:
            raise StoreError(f"no split {self.split!r}", self.path, nearest_names(self.split, self.splits))
        self.grid, self.vocabulary = manifest.grid, manifest.vocabulary
        self.used_codes, self.full_vocabulary = manifest.used_codes, manifest.full_vocabulary
        self.classes, self.label_kind = manifest.classes, manifest.labels
        self.views, self.tokenizer, self.source = manifest.views, manifest.tokenizer, manifest.source
        self._entries = [s for s in manifest.shards if self.split in (None, s.split) and s.rows]
        self._starts = np.cumsum([0] + [shard.rows for shard in self._entries])
        self._readers: dict[int, ShardReader] = {}
        self._codecs: dict[int, Any] = {}
        self._side: tuple[str, RowTable] | None = None  # the side table read last

    def __getstate__(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "split": self.split,
            "cache_bytes": self._cache_bytes,
            "fingerprint": self.fingerprint(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["split"], state["cache_bytes"])  # type: ignore[misc]
        if self.fingerprint() != state["fingerprint"]:
            raise StoreError("changed since it was opened", self.path, "open it again in every process")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray | None]:
        return self._read(self.manifest.codebook, lambda path: codebooks.read(path, self.vocabulary))

    @property
    def counts(self) -> np.ndarray:
        """int64 [K]: how often each stored id occurs in the whole data set."""
        return self._codes[0]

    @property
    def codebook(self) -> np.ndarray | None:  # type: ignore[override]
        """float32 [K, d]: the vectors of the stored ids, or None."""
        return self._codes[1]

    def ids(self, indices: Any) -> np.ndarray:
        indices = self.checked(indices)
        groups = self._by_shard(indices)
        if len(groups) == 1 and isinstance(groups[0][1], slice):
            return self._shard(groups[0][0]).decode(groups[0][2]).astype(self.manifest.id_type, copy=False)
        out = np.empty((len(indices), *self.grid), self.manifest.id_type)
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
            out[here] = self._shard(number).labels.at(rows)
        return out

    def rows_at(self, indices: Any) -> RowTable:
        indices = self.checked(indices)
        places, tables = [], []
        for number, here, rows in self._by_shard(indices):
            entry = self._entries[number]
            if self._side is None or self._side[0] != entry.side.file:
                rows_of = partial(side.read_side, rows=entry.rows)
                self._side = entry.side.file, self._read(entry.side, rows_of)[0]
            table = self._side[1]
            places.append(np.arange(len(indices))[here])
            tables.append(table.take(rows))
        if not tables:
            return RowTable.named([])
        return RowTable.join(tables).take(np.argsort(np.concatenate(places), kind="stable"))

    def fingerprint(self) -> str:
        return hashed("data set", manifests.to_bytes(self.manifest), self.split or "")

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
        """Returns a shard of this split, mapping it the first time."""
        found = self._readers.get(number)
        if found is None:
            found = self.reader(self._entries[number])
            with self._lock:
                self._readers[number] = found
                if self._remote:  # a mapped file keeps its place on the disk: let go of what the cache gave up
                    kept = {n: r for n, r in self._readers.items() if self._remote.holds(self._entries[n].data)}
                    self._readers = kept
        return found

    def reader(self, shard: Shard) -> ShardReader:
        """Maps any shard of the manifest.

        Raises:
            StoreError: it is absent or damaged.
        """
        codec = partial(self.codec, shard.codec)
        return self._read(shard.data, lambda path: ShardReader(path, shard, self.manifest, codec))

    def codec(self, number: int) -> Any:
        """Returns codec `number` of the manifest, loading it the first time."""
        with self._lock:
            if number not in self._codecs:
                entry = self.manifest.codecs[number]
                self._codecs[number] = self._read(entry, partial(self._load_codec, entry))
        return self._codecs[number]

    def _load_codec(self, entry: CodecFile, path: Path) -> Any:
        from seit import codecs  # numba: only who decodes pays for it

        if not path.exists() or path.stat().st_size != entry.bytes:
            raise StoreError("is missing or cut short", str(path), "run seit repair, or copy the data set again")
        codec = codecs.load(path.read_bytes())
        # codecs take two codes or more, and those of before an append know fewer codes than the store by now
        fits = codec.vocabulary <= max(2, self.vocabulary) and tuple(codec.grid) == self.grid
        if not fits or codec.rows_per_block != entry.rows_per_block:
            raise StoreError(
                f"is a codec of {codec.vocabulary} codes on {codec.grid}", str(path), "run seit repair"
            )
        return codec

    def local(self, file: File) -> Path:
        """Returns where a file of the store lies on this machine."""
        return self._remote.fetch(file) if self._remote else self._folder / file.file

    def _read(self, file: File, reader: Callable[[Path], Any]) -> Any:
        """Returns what `reader` makes of a file of the store; the cache of a URL may lose it in between."""
        return self._remote.read(file, reader) if self._remote else reader(self.local(file))
