"""Rebuilding what `verify` found damaged, and only that, from the source images; one shard at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store import encode
from seit.store import rows as side
from seit.store.dataset import TokenDataset
from seit.store.entries import Manifest, Shard
from seit.store.publish import Pending, publish, rewriting
from seit.store.rows import RowTable
from seit.store.shard import entry_of
from seit.store.staging import Part
from seit.store.verify import counted, damaged_rows, file_fault, salvaged, verify

Rebuild = Callable[[str, np.ndarray, list[str] | None], Part]
"""rebuild(split, positions, names) -> Part: tokenizes rows of a split again.

`positions` int64 [n] count from the start of the split; `names` are their source names, or None if the side table
that held them is damaged as well. The Part holds the tokenizer's own ids, labels and row table in that order.
"""


@dataclass(frozen=True)
class Repaired:
    """One rebuilt file: how many of its rows were tokenized again, and how many of those now differ."""

    file: str
    rows: int
    changed: int


def repair(path: str | os.PathLike[str], rebuild: Rebuild, codebook: np.ndarray | None = None) -> list[Repaired]:
    """Rebuilds every damaged file of a token data set and leaves the others alone.

    Rows that still match their checksum are kept; only the others are tokenized again. `changed` counts rows whose
    new ids differ from the recorded checksum (another machine's arithmetic, or another source file).

    Args:
        path: the folder.
        rebuild: tokenizes rows again.
        codebook: float32 [full vocabulary, d], the tokenizer's; needed if the stored codebook is damaged, or if
            rebuilt rows bring codes that the store has not met.

    Returns:
        One entry a rebuilt file; empty if nothing was damaged.

    Raises:
        StoreError: the manifest itself is damaged, or the source does not fit.
        BusyError: another process writes to the folder.
    """
    with rewriting(path) as (data, writing):
        faults = {file.file for file in data.manifest.files if file_fault(data, file)}
        if not faults:
            return []
        manifest, done = data.manifest, []
        coder: Any = None
        hurt = [i for i, s in enumerate(manifest.shards) if {s.data.file, s.side.file} & faults]
        with progress(len(hurt), "repair", "shards") as bar:
            for number in hurt:
                shard = manifest.shards[number]
                part, repaired = _rebuilt(data, number, rebuild, shard.side.file in faults)
                done += [replace(repaired, file=f.file) for f in (shard.data, shard.side) if f.file in faults]
                manifest = _with_codes(manifest, part)
                ids = encode.stored_ids(manifest.used_codes, manifest.full_vocabulary)[part.ids]
                coder = _codec_for(data, manifest, shard, ids, coder)
                manifest = _encoded(manifest, number, part, ids, coder, writing)
                bar.update(1)
        manifest = _with_codebook(data, manifest, codebook, faults, writing)
        if data.manifest.codebook and data.manifest.codebook.file in faults:
            done.append(Repaired(data.manifest.codebook.file, 0, 0))
        if any(repaired.rows for repaired in done) or manifest.vocabulary > data.vocabulary:
            codes, classes = counted(Pending(Path(path), writing, manifest))
            manifest = replace(manifest, code_counts=codes, class_counts=classes)
        publish(Path(path), writing, data.manifest, manifest)
    if left := verify(path):
        raise StoreError(f"still damaged after repair: {left[0]}", os.fspath(path), "check the disk")
    return done


def _rebuilt(data: TokenDataset, number: int, rebuild: Rebuild, side_damaged: bool) -> tuple[Part, Repaired]:
    """Returns a damaged shard's whole content: rows that are intact as they are, the others tokenized again."""
    shard = data.manifest.shards[number]
    bad = damaged_rows(data, shard, side_damaged)
    table = None if bad is None else data.side_table(shard)
    rows = np.arange(shard.rows) if bad is None else np.asarray(bad, np.int64)
    names = None if table is None else [table[0].name[i] for i in rows]
    fresh = None
    if len(rows):
        before = sum(s.rows for s in data.manifest.shards[:number] if s.split == shard.split)
        fresh = rebuild(shard.split, before + rows, names)
        if len(fresh) != len(rows):
            what = f"rebuilding {len(rows)} rows gave {len(fresh)}"
            raise StoreError(what, shard.data.file, "check the source")
        if names is not None and fresh.table.name != names:
            raise StoreError("the source gave other images than were stored", shard.data.file, "check the source")
    changed = 0
    if fresh is not None and table is not None:
        known = encode.stored_ids(data.used_codes, data.full_vocabulary)[fresh.ids]
        changed = int((side.checks(known, fresh.labels) != table[1][rows]).sum())
    return _merged(data, shard, rows, fresh, None if table is None else table[0]), Repaired("", len(rows), changed)


def _merged(data: TokenDataset, shard: Shard, rows: np.ndarray, fresh: Part | None, table: RowTable | None) -> Part:
    """Joins the rows that are intact with those that were rebuilt."""
    if fresh is not None and (table is None or len(rows) == shard.rows):
        return fresh  # without a side table all rows are
    reader = salvaged(data, shard)
    if reader is None or table is None:
        raise StoreError("cannot be opened any more", shard.data.file, "check the disk")
    kept = np.setdiff1d(np.arange(shard.rows), rows)
    ids = np.zeros((shard.rows, *data.grid), np.int32)
    ids[kept] = data.used_codes[reader.decode(kept)]
    kept_labels = reader.labels.at(kept)
    labels = None
    if kept_labels is not None:
        labels = np.zeros((shard.rows, *kept_labels.shape[1:]), kept_labels.dtype)
        labels[kept] = kept_labels
    if fresh is not None:
        ids[rows] = fresh.ids
        if labels is not None and fresh.labels is not None:
            labels[rows] = fresh.labels
    return Part(shard.split, ids, labels, table)


def _with_codes(manifest: Manifest, part: Part) -> Manifest:
    """Adds the codes that rebuilt rows brought; they are counted when all rows stand."""
    fresh = np.setdiff1d(np.unique(part.ids), manifest.used_codes).astype(np.int32)
    used = np.concatenate([manifest.used_codes, fresh])
    return replace(manifest, used_codes=used, code_counts=np.pad(manifest.code_counts, (0, len(fresh))))


def _codec_for(data: TokenDataset, manifest: Manifest, shard: Shard, ids: np.ndarray, fitted: Any) -> Any:
    """Returns the codec to encode a rebuilt shard with: its own, one fitted for an earlier shard, or a new one."""
    largest = int(ids.max(initial=0))
    for codec in (data.codec(shard.codec), fitted):
        if codec is not None and largest < codec.vocabulary:
            return codec
    name = manifest.codecs[shard.codec].name
    sample = ids[:: encode.fit_step(len(ids), manifest)]
    return encode.fit(name, sample, manifest, [len(ids)])


def _encoded(manifest: Manifest, number: int, part: Part, ids: np.ndarray, coder: Any, writing: Path) -> Manifest:
    """Encodes a rebuilt shard in the place of the damaged one."""
    shards = list(manifest.shards)
    old = shards[number]
    first = sum(shard.rows for shard in shards[:number] if shard.split == old.split)
    entry, codecs = entry_of(coder), [*manifest.codecs]
    if entry not in codecs:
        codecs.append(entry)
    manifest = replace(manifest, codecs=codecs)
    stem = encode.file_stem(old.split, sum(shard.split == old.split for shard in shards[:number]))
    shards[number] = encode.encode_shard(writing, stem, part, ids, manifest, coder, codecs.index(entry), first)
    return replace(manifest, shards=shards)


def _with_codebook(
    data: TokenDataset, manifest: Manifest, codebook: np.ndarray | None, faults: set[str], writing: Path
) -> Manifest:
    """Writes the codebook again if it is damaged or codes were added."""
    file = data.manifest.codebook
    lost = file is not None and file.file in faults
    more = manifest.vocabulary - data.vocabulary
    if file is None or not (lost or more):
        return manifest
    if codebook is None:
        what = "its codebook is damaged" if lost else f"{more} codes are new to it"
        raise StoreError(what, data.path, "give the tokenizer's codebook")
    return replace(manifest, codebook=encode.write_codebook(writing, codebook[manifest.used_codes]))
