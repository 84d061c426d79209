"""From staged parts to the files of a store: count codes, prune the codebook, fit the codec, encode shards."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import seit
from seit import files
from seit.errors import StoreError
from seit.progress import progress
from seit.store import codebook as codebooks
from seit.store import labels as label_columns
from seit.store import rows as side
from seit.store import staging
from seit.store.manifest import CodecFile, File, Manifest, Shard
from seit.store.shard import write_shard

SHARD_CELLS = 1 << 26  # 65,536 rows of 32 x 32: about 70 MB a file, under 1 GB of memory while encoding
CHUNK_CELLS = 1 << 20  # ids that are counted or encoded at a time
FIT_CELLS = 1 << 24  # codecs are fitted on at most this many ids, from evenly spaced rows


@dataclass
class Fixed:
    """What is known before the first id is counted.

    Attributes:
        header: tokenizer, classes, source, created, as the manifest has them.
    """

    grid: tuple[int, int]
    vocabulary: int
    views: int
    codebook: np.ndarray | None
    header: dict[str, Any]

    @property
    def shard_rows(self) -> int:
        """Rows of a full shard: whole images."""
        rows = max(1, SHARD_CELLS // (self.grid[0] * self.grid[1]))
        return max(rows // self.views, 1) * self.views


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
    counts = count(partial, numbers, fixed.vocabulary)
    used = np.flatnonzero(counts).astype(np.int32)
    new_id = np.zeros(fixed.vocabulary, np.uint16 if len(used) <= 1 << 16 else np.uint32)
    new_id[used] = np.arange(len(used))
    codec = fit(partial, numbers, fixed, codec_name, new_id, len(used))
    tables = write_codec(whole / "codec.bin", codec)
    vectors = None if fixed.codebook is None else np.asarray(fixed.codebook, np.float32)[used]
    codebooks.write(whole / codebooks.NAME, counts[used], vectors)
    manifest = Manifest(
        grid=fixed.grid,
        full_vocabulary=fixed.vocabulary,
        used_codes=used,
        labels="none",
        views=fixed.views,
        entropy=codebooks.entropy(counts),
        codebook=measure(whole / codebooks.NAME),
        codecs=[tables],
        **fixed.header,
    )
    parts = staging.regrouped(partial, numbers, fixed.shard_rows)
    return encode_parts(whole, parts, manifest, codec, new_id)


def encode_parts(
    folder: Path, parts: Iterable[staging.Part], manifest: Manifest, codec: Any, new_id: np.ndarray
) -> Manifest:
    """Encodes parts into further shards of a store with its last codec.

    Args:
        folder: the store.
        parts: tokenizer ids, one part a shard.
        manifest: the store so far; not changed.
        codec: the fitted codec, the manifest's last.
        new_id: [full vocabulary] maps tokenizer ids to stored ids.

    Returns:
        The manifest with the new shards, their kind of labels and their source bytes added.
    """
    shards, how = list(manifest.shards), manifest.labels if manifest.shards else ""
    sums = {key: int(manifest.source.get(key, 0)) for key in ("file_bytes", "payload_bytes")}
    with progress(0, "encode", "rows") as bar:
        for part in parts:
            kind = label_columns.kind(part.labels, len(manifest.classes), len(part))
            if how not in ("", kind):
                raise StoreError(f"some rows have {kind} labels, others {how}", part.split, "label all rows alike")
            how = kind
            name = unused_name(folder, part.split)
            shards.append(
                encode_shard(folder, name, part, new_id[part.ids], manifest, codec, len(manifest.codecs) - 1)
            )
            # every view of an image carries the same source: count it once
            sums["file_bytes"] += int(part.table.source_bytes[:: manifest.views].sum(dtype=np.int64))
            sums["payload_bytes"] += int(part.table.source_payload_bytes[:: manifest.views].sum(dtype=np.int64))
            bar.total += len(part)
            bar.update(len(part))
    created = manifest.created | {"versions": versions()}
    return replace(manifest, shards=shards, labels=how or "none", source=manifest.source | sums, created=created)


def encode_shard(
    folder: Path, name: str, part: staging.Part, ids: np.ndarray, manifest: Manifest, codec: Any, codec_number: int
) -> Shard:
    """Writes one shard and its side table; `ids` are stored ids. Returns the manifest's entry."""
    how = label_columns.kind(part.labels, len(manifest.classes), len(part))
    payload, offsets = _encode_chunks(codec, ids)
    columns = label_columns.columns(part.labels, how, len(manifest.classes))
    sizes = write_shard(folder / f"{name}.arrow", payload, offsets, columns, codec.rows_per_block)
    side.write_side(folder / f"{name}.rows.arrow", part.table, side.checks(ids, part.labels))
    return Shard(
        split=part.split,
        rows=len(part),
        codec=codec_number,
        data=measure(folder / f"{name}.arrow"),
        side=measure(folder / f"{name}.rows.arrow"),
        **sizes,
    )


def _encode_chunks(codec: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes a shard's rows some whole blocks at a time: the coder's temporaries are many times its input."""
    cells = ids.shape[1] * ids.shape[2]
    step = codec.rows_per_block * max(1, CHUNK_CELLS // (cells * codec.rows_per_block))
    payloads, offsets, end = [], [np.zeros(1, np.int64)], 0
    for first in range(0, len(ids), step):
        payload, starts = codec.encode(ids[first : first + step])
        payloads.append(payload)
        offsets.append(starts[1:] + end)
        end += len(payload)
    return np.concatenate([np.zeros(0, np.uint8), *payloads]), np.concatenate(offsets)


def count(partial: Path, numbers: list[int], vocabulary: int) -> np.ndarray:
    """Counts how often each tokenizer id occurs in the parts, int64 [vocabulary]."""
    counts = np.zeros(vocabulary, np.int64)
    for number in numbers:
        ids = staging.read_ids(partial, number)[1].reshape(-1)
        for first in range(0, len(ids), CHUNK_CELLS):
            counts += np.bincount(ids[first : first + CHUNK_CELLS], minlength=vocabulary)
    return counts


def fit(partial: Path, numbers: list[int], fixed: Fixed, name: str, new_id: np.ndarray, vocabulary: int) -> Any:
    """Fits a codec on the stored ids of the parts, or on evenly spaced rows of many."""
    from seit import codecs  # numba: not for who only opens a store

    rows = sum(len(staging.read_ids(partial, number)[1]) for number in numbers)
    step = max(1, -(-rows * fixed.grid[0] * fixed.grid[1] // FIT_CELLS))
    picked = [new_id[staging.read_ids(partial, number)[1][::step]] for number in numbers]
    return codecs.fit(name, np.concatenate(picked), max(2, vocabulary))  # a codec takes two codes or more


def write_codec(path: Path, codec: Any) -> CodecFile:
    """Writes a fitted codec's tables and returns the manifest's entry."""
    files.write_bytes(path, codec.to_bytes())
    file = measure(path)
    return CodecFile(file.file, file.bytes, file.sha256, codec.name, codec.rows_per_block)


def measure(path: Path) -> File:
    """Returns a file's name, size and SHA-256."""
    with open(path, "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return File(path.name, path.stat().st_size, digest)


def versions() -> dict[str, str]:
    """Returns the versions that wrote the store."""
    python = platform.python_version()
    return {"seit": seit.__version__, "numpy": np.__version__, "pyarrow": pa.__version__, "python": python}


def unused_name(folder: Path, stem: str) -> str:
    """Returns `stem` with the first number that no file of the folder, whatever its ending, carries yet."""
    taken = {path.name.partition(".")[0] for path in folder.iterdir()}
    number = 0
    while f"{stem}-{number:05d}" in taken:
        number += 1
    return f"{stem}-{number:05d}"
