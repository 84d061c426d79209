"""Rebuilding what `verify` found damaged, and only that, from the source images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store import append, encode
from seit.store import codebook as codebooks
from seit.store import manifest as manifests
from seit.store import rows as side
from seit.store.dataset import TokenDataset
from seit.store.manifest import Shard
from seit.store.rows import RowTable
from seit.store.staging import Part
from seit.store.verify import Damage, check_file, damaged_rows, verify
from seit.store.writer import commit_lock, disk_errors

Rebuild = Callable[[str, np.ndarray, list[str] | None], Part]
"""rebuild(split, positions, names) -> Part: tokenises rows of a split again.

`positions` int64 [n] count from the start of the split; `names` are their source names, or None if the side table
that held them is damaged as well. The Part holds the tokenizer's own ids, labels and row table in that order.
"""


@dataclass(frozen=True)
class Repaired:
    """One rebuilt file: how many of its rows were tokenised again, and how many of those now differ."""

    file: str
    rows: int
    changed: int


def repair(path: str | os.PathLike[str], rebuild: Rebuild, codebook: np.ndarray | None = None) -> list[Repaired]:
    """Rebuilds every damaged file of a token data set and leaves the others alone.

    Rows that still match their checksum are kept; only the others are tokenised again. `changed` counts rows whose
    new ids differ from the recorded checksum (another machine's arithmetic, or another source file).

    Args:
        path: the folder.
        rebuild: tokenises rows again.
        codebook: float32 [full vocabulary, d], the tokenizer's; needed if the stored codebook is damaged.

    Returns:
        One entry a rebuilt file; empty if nothing was damaged.

    Raises:
        StoreError: the manifest itself is damaged, the source does not fit, or the folder is being written to.
    """
    folder = Path(path)
    with commit_lock(folder), disk_errors(folder):
        damages = verify(folder)
        if not damages:
            return []
        if damages[0].file == manifests.NAME:
            raise StoreError(
                f"its manifest is damaged ({damages[0].what})", str(folder), "create the data set again"
            )
        return _Repair(TokenDataset(folder), damages, rebuild).run(codebook)


class _Repair:
    """One repair of one store."""

    def __init__(self, data: TokenDataset, damages: list[Damage], rebuild: Rebuild) -> None:
        self.data, self.folder, self.rebuild = data, Path(data.path), rebuild
        self.manifest = data.manifest
        self.damaged = {damage.file: damage for damage in damages}
        self.done: list[Repaired] = []

    def run(self, codebook: np.ndarray | None) -> list[Repaired]:
        parts = self._parts()
        lost = self.manifest.codebook.file in self.damaged
        had_vectors = codebooks.has_vectors(self.manifest.codebook.bytes, self.manifest.vocabulary)
        if lost and codebook is None and had_vectors:
            raise StoreError("its codebook is damaged", str(self.folder), "give the tokenizer's codebook")
        self._new_codes(parts, codebook, lost)
        self._encode(parts)
        append.publish(self.folder, self.manifest)
        left = verify(self.folder)
        if left:
            raise StoreError(f"still damaged after repair: {left[0]}", str(self.folder), "check the disk")
        return self.done

    def _parts(self) -> dict[int, Part]:
        """Rebuilds the rows of each damaged shard: number of the shard -> its whole content."""
        codecs = {i for i, codec in enumerate(self.manifest.codecs) if codec.file in self.damaged}
        hurt = [
            number
            for number, shard in enumerate(self.manifest.shards)
            if shard.data.file in self.damaged or shard.side.file in self.damaged or shard.codec in codecs
        ]
        parts = {}
        with progress(len(hurt), "repair", "shards") as bar:
            for number in hurt:
                parts[number] = self._part(number, self.manifest.shards[number])
                bar.update(1)
        return parts

    def _part(self, number: int, shard: Shard) -> Part:
        bad = damaged_rows(self.data, shard) if shard.rows else []
        rows = np.arange(shard.rows) if bad is None else np.asarray(bad, np.int64)
        first = sum(s.rows for s in self.manifest.shards[:number] if s.split == shard.split)
        table, wanted = self._side(shard)
        names = None if table is None else [table.name[i] for i in rows]
        fresh = self.rebuild(shard.split, first + rows, names) if len(rows) else None
        if fresh is not None and len(fresh) != len(rows):
            raise StoreError(f"rebuilding {len(rows)} rows gave {len(fresh)}", shard.data.file, "check the source")
        if fresh is not None and names is not None and fresh.table.name != names:
            raise StoreError("the source gave other images than were stored", shard.data.file, "check the source")
        part = self._merged(shard, rows, fresh, table)
        changed = 0
        if wanted is not None:
            found = side.checks(self._known_ids(part.ids[rows]), None if part.labels is None else part.labels[rows])
            changed = int((found != wanted[rows]).sum())
        for file in (shard.data.file, shard.side.file):
            if file in self.damaged or file == shard.data.file:
                self.done.append(Repaired(file, len(rows), changed))
        return part

    def _side(self, shard: Shard) -> tuple[RowTable | None, np.ndarray | None]:
        if shard.side.file in self.damaged:
            return None, None
        return side.read_side(self.data.local(shard.side), shard.rows)

    def _merged(self, shard: Shard, rows: np.ndarray, fresh: Part | None, table: RowTable | None) -> Part:
        """Joins the rows that are intact with those that were rebuilt."""
        if fresh is not None and (table is None or len(rows) == shard.rows):
            return fresh  # without a side table all rows are
        kept = np.setdiff1d(np.arange(shard.rows), rows)
        reader = self.data.reader(shard)
        ids = np.zeros((shard.rows, *self.data.grid), np.int32)
        ids[kept] = self.data.used_codes[reader.decode(kept)]
        kept_labels = reader.labels.at(kept)
        labels = None
        if kept_labels is not None:
            labels = np.zeros((shard.rows, *kept_labels.shape[1:]), kept_labels.dtype)
            labels[kept] = kept_labels
        if fresh is not None:
            ids[rows] = fresh.ids
            if labels is not None and fresh.labels is not None:
                labels[rows] = fresh.labels
        return Part(shard.split, ids, labels, table or RowTable.named([]))

    def _known_ids(self, ids: np.ndarray) -> np.ndarray:
        """Stored ids of tokenizer ids; a code that the store does not know becomes 0, which fails its check."""
        new_id = np.zeros(self.data.full_vocabulary, self.manifest.id_type)
        new_id[self.data.used_codes] = np.arange(self.data.vocabulary)
        return new_id[ids]

    def _new_codes(self, parts: dict[int, Part], codebook: np.ndarray | None, lost: bool) -> None:
        """Extends the codebook by codes that rebuilt rows brought, or writes a lost one again."""
        codes = np.unique(np.concatenate([np.unique(part.ids) for part in parts.values()] or [np.zeros(0, int)]))
        fresh = np.setdiff1d(codes, self.manifest.used_codes)
        changed = any(done.changed for done in self.done) or bool(len(fresh))
        if not lost and not changed:
            return
        counts = np.zeros(self.data.full_vocabulary, np.int64)
        for number, shard in enumerate(self.manifest.shards):
            ids = parts[number].ids if number in parts else self._all_ids(shard)
            counts += np.bincount(np.asarray(ids).reshape(-1), minlength=len(counts))
        vectors = codebook
        if vectors is None and not lost and self.data.codebook is not None and not len(fresh):
            vectors = np.zeros((self.data.full_vocabulary, self.data.codebook.shape[1]), np.float32)
            vectors[self.data.used_codes] = self.data.codebook
        if vectors is None and len(fresh):
            raise StoreError(f"{len(fresh)} codes are new to it", str(self.folder), "give the tokenizer's codebook")
        self.manifest, _ = append.extend(self.data, counts, vectors, known=False)
        if lost:
            self.done.append(Repaired(self.data.manifest.codebook.file, 0, 0))

    def _all_ids(self, shard: Shard) -> np.ndarray:
        return self.data.used_codes[self.data.reader(shard).decode(np.arange(shard.rows))]

    def _encode(self, parts: dict[int, Part]) -> None:
        """Encodes the rebuilt shards under new names, with their own codec where it still serves."""
        new_id = np.zeros(self.manifest.full_vocabulary, self.manifest.id_type)
        new_id[self.manifest.used_codes] = np.arange(self.manifest.vocabulary)
        whole = [
            i
            for i, codec in enumerate(self.manifest.codecs)
            if codec.file not in self.damaged and not check_file(self.folder, codec)
        ]
        shards = list(self.manifest.shards)
        for number, part in parts.items():
            ids = new_id[part.ids]
            use = shards[number].codec
            if use not in whole or (ids.size and int(ids.max()) >= self.data.codec(use).vocabulary):
                self.manifest, coder = append.with_new_codec(
                    self.folder, self.manifest, ids, self.manifest.codecs[use].name
                )
                use = len(self.manifest.codecs) - 1
            else:
                coder = self.data.codec(use)
            name = encode.unused_name(self.folder, part.split)
            shards[number] = encode.encode_shard(self.folder, name, part, ids, self.manifest, coder, use)
        self.manifest = replace(self.manifest, shards=shards)
        self._drop_lost_codecs()

    def _drop_lost_codecs(self) -> None:
        """Removes damaged codecs, which no shard uses any more, and renumbers the others."""
        kept = [i for i, codec in enumerate(self.manifest.codecs) if codec.file not in self.damaged]
        number = {old: new for new, old in enumerate(kept)}
        self.manifest = replace(
            self.manifest,
            codecs=[self.manifest.codecs[i] for i in kept],
            shards=[replace(shard, codec=number[shard.codec]) for shard in self.manifest.shards],
        )
        self.done += [Repaired(name, 0, 0) for name in self.damaged if name.endswith(".bin")]
