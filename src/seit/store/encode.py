"""From parts of plain ids to the files of a store: count codes, prune the codebook, fit the codec, encode shards.

Files are named by their content (`train-00000-<sha256, 16 digits>.arrow`), so a name never means two things: a
reader of an older version of the data set finds its own bytes or none.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import seit
from seit.codecs.base import id_type
from seit.errors import StoreError
from seit.progress import progress
from seit.store import codebook as codebooks
from seit.store import labels as label_columns
from seit.store import rows as side
from seit.store import staging
from seit.store.entries import File, Manifest, Shard
from seit.store.shard import Coded, entry_of, write_shard

SHARD_CELLS = 1 << 26  # 65,536 rows of 32 x 32: about 70 MB a file, under 1 GB of memory while encoding
CHUNK_CELLS = 1 << 20  # ids that are counted or encoded at a time
FIT_CELLS = 1 << 24  # codecs are fitted on at most this many ids, from evenly spaced rows


def stored_ids(used_codes: np.ndarray, full_vocabulary: int) -> np.ndarray:
    """Returns the stored id of each code of the tokenizer, [full vocabulary]; 0 for codes that are not used."""
    new_id = np.zeros(full_vocabulary, id_type(len(used_codes)))
    new_id[used_codes] = np.arange(len(used_codes))
    return new_id


def shard_rows(shape: tuple[int, ...], views: int) -> int:
    """Returns how many rows a full shard has: whole images, about `SHARD_CELLS` ids."""
    rows = max(1, SHARD_CELLS // int(np.prod(shape)))
    return max(rows // views, 1) * views


@dataclass
class Fixed:
    """What is known before the first id is counted.

    Attributes:
        shape: cells of a row along each axis.
        vocabulary: codes of the tokenizer.
        views: rows of each image.
        codebook: float32 [vocabulary, d], or None.
        labels: kind of labels.
        header: tokenizer, classes, source, created, metadata, as the manifest has them.
    """

    shape: tuple[int, ...]
    vocabulary: int
    views: int
    codebook: np.ndarray | None
    labels: str
    header: dict[str, Any]


def new_store(whole: Path, partial: Path, numbers: list[int], fixed: Fixed, codec_name: str) -> Manifest:
    """Encodes staged parts into the empty folder `whole`; the caller writes the manifest.

    Args:
        whole: where the files go.
        partial, numbers: the parts.
        fixed: what the caller knows.
        codec_name: which codec to fit.

    Returns:
        The manifest of the finished store.
    """
    counts = count_staged(partial, numbers, fixed.vocabulary)
    used = np.flatnonzero(counts).astype(np.int32)
    new_id = stored_ids(used, fixed.vocabulary)
    codebook = None
    if fixed.codebook is not None:
        codebook = write_codebook(whole, np.asarray(fixed.codebook, np.float32)[used])
    manifest = Manifest(
        shape=fixed.shape,
        full_vocabulary=fixed.vocabulary,
        used_codes=used,
        code_counts=counts[used],
        labels=fixed.labels,
        class_counts={},
        views=fixed.views,
        codebook=codebook,
        **fixed.header,
    )
    if not numbers:
        return manifest
    codec = fit_staged(partial, numbers, manifest, codec_name, new_id)
    parts = staging.regrouped(partial, numbers, shard_rows(fixed.shape, fixed.views))
    return add_shards(whole, parts, manifest, codec, new_id)


def add_shards(
    folder: Path, parts: Iterable[staging.Part], manifest: Manifest, codec: Any, new_id: np.ndarray
) -> Manifest:
    """Encodes parts into further shards.

    Args:
        folder: where their files go.
        parts: tokenizer ids, one part a shard, the rows of each split in order.
        manifest: the store so far; its code_counts already count the parts.
        codec: the fitted codec.
        new_id: [full vocabulary] maps tokenizer ids to stored ids.

    Returns:
        The manifest with the new shards, their classes and their source bytes counted.

    Raises:
        StoreError: a part has another kind of labels.
    """
    shards, rows_of = list(manifest.shards), dict(manifest.splits)
    class_counts, source = dict(manifest.class_counts), dict(manifest.source)
    codecs = [*manifest.codecs]
    entry = entry_of(codec)
    if entry not in codecs:
        codecs.append(entry)
    manifest = replace(manifest, codecs=codecs)
    number = codecs.index(entry)
    with progress(0, "encode", "rows") as bar:
        for part in parts:
            first = rows_of.get(part.split, 0)
            stem = file_stem(part.split, sum(shard.split == part.split for shard in shards))
            shards.append(encode_shard(folder, stem, part, new_id[part.ids], manifest, codec, number, first))
            rows_of[part.split] = first + len(part)
            if manifest.labels != "none":
                known = class_counts.get(part.split, 0)
                class_counts[part.split] = known + label_columns.count(part.labels, len(manifest.classes))
            for key, size in source_bytes(part.table, manifest.views).items():
                source[key] = int(source.get(key, 0)) + size
            bar.total += len(part)
            bar.update(len(part))
    created = manifest.created | {"versions": versions()}
    return replace(manifest, shards=shards, class_counts=class_counts, source=source, created=created)


def source_bytes(table: side.RowTable, views: int) -> dict[str, int]:
    """Returns the bytes of the source files and of their JPEG scans; every view carries the same source: once."""
    return {
        "file_bytes": int(table.source_bytes[::views].sum(dtype=np.int64)),
        "payload_bytes": int(table.source_payload_bytes[::views].sum(dtype=np.int64)),
    }


def encode_shard(
    folder: Path,
    stem: str,
    part: staging.Part,
    ids: np.ndarray,
    manifest: Manifest,
    codec: Any,
    number: int,
    first_row: int,
) -> Shard:
    """Writes one shard and its side table.

    Args:
        folder: where the files go.
        stem: how their names begin.
        part: the rows' labels and names.
        ids: [n, h, w], their stored ids.
        manifest: of the store; `number` is the codec's place in it.
        codec: the fitted codec.
        number: see `manifest`.
        first_row: number of the first row within its split.

    Returns:
        The manifest's entry.

    Raises:
        StoreError: the labels are of another kind than the store's.
    """
    kind = label_columns.kind(part.labels, len(manifest.classes), len(part))
    if kind != manifest.labels:
        what = f"some rows have {kind} labels, others {manifest.labels}"
        raise StoreError(what, f"split {part.split}", "label all rows alike")
    payload, offsets = _encode_chunks(codec, ids)
    coded = Coded(payload, offsets, codec.to_bytes(), codec.rows_per_block)
    columns = label_columns.columns(part.labels, kind, len(manifest.classes))
    data, table = folder / ".shard.tmp", folder / ".side.tmp"
    sizes = write_shard(data, coded, columns, part.split, first_row, len(part), manifest)
    side.write_side(table, part.table, side.checks(ids.astype(codec.dtype), part.labels))
    return Shard(
        split=part.split,
        rows=len(part),
        codec=number,
        data=name_by_content(data, stem, ".arrow"),
        side=name_by_content(table, stem, ".rows.arrow"),
        payload_bytes=sizes["payload_bytes"],
        offset_bytes=sizes["offset_bytes"],
        label_bytes=sizes["label_bytes"],
    )


def file_stem(split: str, number: int) -> str:
    """Returns how the names of a split's shard `number` begin: file names are bare, splits need not be."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", split).lstrip("-._")
    if name != split:  # two splits must not come to share a name
        name += f"-{hashlib.sha256(split.encode()).hexdigest()[:8]}"
    return f"{name.lstrip('-')}-{number:05d}"


def _encode_chunks(codec: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes a shard's rows some whole blocks at a time: the coder's temporaries are many times its input."""
    cells = ids.shape[1] * ids.shape[2]
    step = codec.rows_per_block * max(1, CHUNK_CELLS // (cells * codec.rows_per_block))
    payloads, offsets, end = [np.zeros(0, np.uint8)], [np.zeros(1, np.int64)], 0
    for first in range(0, len(ids), step):
        payload, starts = codec.encode(ids[first : first + step])
        payloads.append(payload)
        offsets.append(starts[1:] + end)
        end += len(payload)
    return np.concatenate(payloads), np.concatenate(offsets)


def count_staged(partial: Path, numbers: list[int], vocabulary: int) -> np.ndarray:
    """Counts how often each tokenizer id occurs in the parts, int64 [vocabulary]."""
    counts = np.zeros(vocabulary, np.int64)
    for number in numbers:
        ids = staging.read_ids(partial, number)[1].reshape(-1)
        for first in range(0, len(ids), CHUNK_CELLS):
            counts += np.bincount(ids[first : first + CHUNK_CELLS], minlength=vocabulary)
    return counts


def fit_staged(partial: Path, numbers: list[int], manifest: Manifest, name: str, new_id: np.ndarray) -> Any:
    """Fits a codec on the stored ids of the parts, or on evenly spaced rows of many."""
    sizes: dict[str, int] = {}
    for number in numbers:
        split, ids = staging.read_ids(partial, number)
        sizes[split] = sizes.get(split, 0) + len(ids)
    step = fit_step(sum(sizes.values()), manifest)
    picked = [new_id[staging.read_ids(partial, number)[1][::step]] for number in numbers]
    return fit(name, np.concatenate(picked), manifest, list(sizes.values()))


def fit_step(rows: int, manifest: Manifest) -> int:
    """Returns the step at which rows are taken to fit a codec on."""
    return max(1, -(-rows * manifest.cells // FIT_CELLS))


def fit(name: str, ids: np.ndarray, manifest: Manifest, split_rows: list[int]) -> Any:
    """Fits a codec to stored ids.

    Args:
        name: a codec, or "auto".
        ids: [n, h, w], a sample of what will be stored.
        manifest: of the store.
        split_rows: how many rows of each split will be stored; each shard carries the codec's tables.
    """
    from seit import codecs  # numba: not for who only opens a store

    full = shard_rows(manifest.shape, manifest.views)
    shards = sum(-(-rows // full) for rows in split_rows)
    # a codec takes two codes or more; base64 makes 4 bytes of 3
    return codecs.fit(name, ids, max(2, manifest.vocabulary), rows=int(sum(split_rows) / max(shards, 1) * 0.75))


def write_codebook(folder: Path, vectors: np.ndarray) -> File:
    """Writes the vectors of the used codes, float32 [K, d], and returns the manifest's entry."""
    path = folder / ".codebook.tmp"
    codebooks.write(path, vectors)
    return name_by_content(path, "codebook", ".safetensors")


def name_by_content(path: Path, stem: str, suffix: str) -> File:
    """Renames a file after its content; returns its name, size and SHA-256."""
    with open(path, "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    file = File(f"{stem}-{digest[:16]}{suffix}", path.stat().st_size, digest)
    os.replace(path, path.with_name(file.file))
    return file


def versions() -> dict[str, str]:
    """Returns the versions that wrote the store."""
    python = platform.python_version()
    return {"seit": seit.__version__, "numpy": np.__version__, "pyarrow": pa.__version__, "python": python}
