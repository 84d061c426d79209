"""Adding rows to a store: new shards beside the old ones.

Codes and classes that the store has not met yet are added behind the known ones: stored ids and labels keep their
meaning. Small shards at a split's end are written again together with the new rows, so that a data set that grows
nightly keeps a number of shards that is logarithmic in its appends.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seit.errors import StoreError
from seit.store import encode, staging
from seit.store import labels as label_columns
from seit.store.dataset import TokenDataset
from seit.store.entries import Manifest, Shard
from seit.store.publish import publish, rewriting
from seit.store.save import full_codebook, parts_of
from seit.store.staging import Part
from seit.store.token_rows import TokenRows, same_kind


def append(path: str | os.PathLike[str], splits: Mapping[str, TokenRows], codec: str = "auto") -> Path:
    """Adds rows to a token data set, behind those that it has.

    Args:
        path: its folder.
        splits: the new rows of each split, old or new, of the same tokenizer, grid and kind of labels; classes are
            matched by name, new ones are added.
        codec: what to fit if new codes occur; else the store's newest codec is used.

    Returns:
        The folder.

    Raises:
        StoreError: the rows do not fit, or the disk is full.
        BusyError: another process writes to the folder.
    """
    with rewriting(path) as (data, writing):
        splits = {split: rows for split, rows in splits.items() if len(rows)}
        for split, rows in splits.items():
            same_kind(data, rows, f"split {split}", classes=False)
        if not splits:
            return Path(path)
        names = itertools.chain(data.classes, *(rows.classes for rows in splits.values()))
        counts = sum((count_codes(rows) for rows in splits.values()), np.zeros(data.full_vocabulary, np.int64))
        manifest = add_codes(data, counts, full_codebook(list(splits.values())), writing)
        manifest = _with_classes(manifest, list(dict.fromkeys(names)))
        new_id = encode.stored_ids(manifest.used_codes, manifest.full_vocabulary)
        coder = data.codec(len(manifest.codecs) - 1) if manifest.codecs else None
        if coder is None or coder.vocabulary < max(2, manifest.vocabulary):
            sizes = [len(rows) for rows in splits.values()]
            coder = encode.fit(codec, sample(splits, new_id, manifest), manifest, sizes)
        for split, rows in splits.items():
            manifest, small = _without_small_tail(data, manifest, split, len(rows))
            parts = _parts(data, small, split, rows, manifest.classes)
            parts = staging.regroup(parts, encode.shard_rows(manifest.shape, manifest.views))
            manifest = encode.add_shards(writing, parts, manifest, coder, new_id)
        order = list(dict.fromkeys([*data.splits, *splits]))
        shards = sorted(manifest.shards, key=lambda shard: order.index(shard.split))  # each split's rows together
        publish(Path(path), writing, data.manifest, replace(manifest, shards=shards))
    return Path(path)


def add_codes(data: TokenDataset, counts: np.ndarray, codebook: np.ndarray | None, writing: Path) -> Manifest:
    """Adds the codes of further rows to a store's manifest, and writes the codebook again if any is new.

    Args:
        data: the store.
        counts: int64 [full vocabulary] of the further rows.
        codebook: float32 [full vocabulary, d]; needed for codes that are new.
        writing: where a new codebook goes.

    Raises:
        StoreError: a code is new, the store has vectors and `codebook` does not.
    """
    manifest = data.manifest
    fresh = np.setdiff1d(np.flatnonzero(counts), manifest.used_codes).astype(np.int32)
    used = np.concatenate([manifest.used_codes, fresh])
    total = counts[used]
    total[: data.vocabulary] += manifest.code_counts
    file = manifest.codebook
    if len(fresh) and (data.codebook is not None or not data.vocabulary) and codebook is not None:
        known = [] if data.codebook is None else [data.codebook]
        file = encode.write_codebook(writing, np.concatenate([*known, codebook[fresh]]))
    elif len(fresh) and data.codebook is not None:
        what = f"{len(fresh)} codes are new to it, the first is {fresh[0]}"
        raise StoreError(what, data.path, "give the whole codebook")
    return replace(manifest, used_codes=used, code_counts=total, codebook=file)


def _with_classes(manifest: Manifest, classes: list[str]) -> Manifest:
    """Extends the class list; every class that was known keeps its number."""
    more = len(classes) - len(manifest.classes)
    counts = {split: np.pad(known, (0, more)) for split, known in manifest.class_counts.items()}
    return replace(manifest, classes=classes, class_counts=counts)


def _without_small_tail(
    data: TokenDataset, manifest: Manifest, split: str, rows: int
) -> tuple[Manifest, list[tuple[int, Shard]]]:
    """Takes a split's last shards out of the manifest while they are small beside the rows that will follow them.

    Returns:
        The manifest without them, and their first rows in the whole data set and entries, in order.
    """
    starts = np.cumsum([0, *(shard.rows for shard in data.manifest.shards)])
    mine = [i for i, shard in enumerate(data.manifest.shards) if shard.split == split]
    full, taken = encode.shard_rows(manifest.shape, manifest.views), list[tuple[int, Shard]]()
    while mine and data.manifest.shards[mine[-1]].rows <= min(2 * rows, full - rows):
        number = mine.pop()
        shard = data.manifest.shards[number]
        rows += shard.rows
        taken.insert(0, (int(starts[number]), shard))
    gone = {shard.data.file for _, shard in taken}
    shards = [shard for shard in manifest.shards if shard.data.file not in gone]
    counts, source = dict(manifest.class_counts), dict(manifest.source)
    for first, shard in taken:
        places = np.arange(first, first + shard.rows)
        if manifest.labels != "none":
            known = label_columns.count(data.labels_at(places), len(data.classes))
            counts[split] = counts[split] - np.pad(known, (0, len(manifest.classes) - len(known)))
        for key, size in encode.source_bytes(data.rows_at(places), manifest.views).items():
            source[key] = int(source[key]) - size
    if split in counts and not any(shard.split == split for shard in shards):
        del counts[split]
    return replace(manifest, shards=shards, class_counts=counts, source=source), taken


def _parts(
    data: TokenDataset, small: list[tuple[int, Shard]], split: str, rows: TokenRows, classes: list[str]
) -> Iterator[Part]:
    """Yields the rows of the small shards, then the new rows, with labels in the numbering of `classes`."""
    step = encode.shard_rows(data.shape, data.views)
    for first, shard in small:
        yield from _renumbered(parts_of(data.subset(range(first, first + shard.rows)), split, step), data, classes)
    yield from _renumbered(parts_of(rows, split, step), rows, classes)


def _renumbered(parts: Iterator[Part], rows: TokenRows, classes: list[str]) -> Iterator[Part]:
    if rows.label_kind == "none" or rows.classes == classes:
        yield from parts
        return
    place = {name: number for number, name in enumerate(classes)}
    new = np.array([place[name] for name in rows.classes] + [-1], np.int64)  # the last is an unknown class's
    for part in parts:
        if part.labels is None or part.labels.ndim == 1:
            labels = None if part.labels is None else new[part.labels]
        else:
            labels = np.zeros((len(part), len(classes)), part.labels.dtype)
            labels[:, new[:-1]] = part.labels
        yield replace(part, labels=labels)


def sample(splits: Mapping[str, TokenRows], new_id: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Returns stored ids of evenly spaced rows, at most about `FIT_CELLS` of them, to fit a codec on."""
    step = encode.fit_step(sum(map(len, splits.values())), manifest)
    return np.concatenate([new_id[part.tokenizer_ids(np.arange(0, len(part), step))] for part in splits.values()])


def count_codes(rows: TokenRows) -> np.ndarray:
    """Counts the tokenizer's ids in some rows, int64 [full vocabulary]."""
    counts = np.zeros(rows.full_vocabulary, np.int64)
    for start in range(0, len(rows), 8192):
        ids: Any = rows.tokenizer_ids(np.arange(start, min(start + 8192, len(rows))))
        counts += np.bincount(ids.reshape(-1), minlength=len(counts))
    return counts
