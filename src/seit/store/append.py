"""Adding rows to a store: new shards beside the old ones, then a new manifest in one rename.

Nothing that the old manifest names is touched before the new one stands, so a reader, a killed process or a full
disk sees the old data set or the new one. Codes that the store has not met yet are added behind the known ones:
stored ids keep their meaning, and only the new shards need a codec that knows them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seit.errors import StoreError
from seit.store import codebook as codebooks
from seit.store import encode
from seit.store import manifest as manifests
from seit.store.dataset import TokenDataset
from seit.store.manifest import Manifest
from seit.store.save import full_codebook, parts_of
from seit.store.token_rows import TokenRows, same_kind
from seit.store.writer import commit_lock, disk_errors


def append(path: str | os.PathLike[str], splits: Mapping[str, TokenRows], codec: str = "auto") -> Path:
    """Adds rows to a token data set, behind those that it has.

    Args:
        path: its folder.
        splits: the new rows of each split, old or new, of the same tokenizer, grid and classes.
        codec: what to fit if new codes occur; else the store's newest codec is used.

    Returns:
        The folder.

    Raises:
        StoreError: the rows do not fit, another process writes to the folder, or the disk is full.
    """
    folder = Path(path)
    with commit_lock(folder), disk_errors(folder):
        data = TokenDataset(folder)
        for split, rows in splits.items():
            same_kind(data, rows, f"split {split}")
        counts = sum((count(rows) for rows in splits.values()), np.zeros(data.full_vocabulary, np.int64))
        manifest, new_id = extend(data, counts, full_codebook(list(splits.values())))
        if manifest.vocabulary > data.vocabulary or not manifest.codecs:
            manifest, coder = with_new_codec(folder, manifest, sample(splits, new_id), codec)
        else:
            coder = data.codec(len(manifest.codecs) - 1)
        cells = data.grid[0] * data.grid[1]
        parts = (
            part for split, rows in splits.items() for part in parts_of(rows, split, encode.SHARD_CELLS // cells)
        )
        publish(folder, encode.encode_parts(folder, parts, manifest, coder, new_id))
    return folder


def extend(
    data: TokenDataset, counts: np.ndarray, codebook: np.ndarray | None, known: bool = True
) -> tuple[Manifest, np.ndarray]:
    """Adds codes and counts to a store's codebook, in a new file.

    Args:
        data: the store.
        counts: int64 [full vocabulary] of the rows to come.
        codebook: float32 [full vocabulary, d]; needed for codes that are new.
        known: whether the store's own counts are to be added; False replaces them.

    Returns:
        The manifest with the new codebook, and new_id [full vocabulary] from tokenizer ids to stored ids.

    Raises:
        StoreError: a code is new, the store has vectors and `codebook` does not.
    """
    manifest = data.manifest
    fresh = np.setdiff1d(np.flatnonzero(counts), manifest.used_codes).astype(np.int32)
    used = np.concatenate([manifest.used_codes, fresh])
    vectors = data.codebook if known else None if codebook is None else codebook[manifest.used_codes]
    if len(fresh) and vectors is not None:
        if codebook is None:
            raise StoreError(
                f"{len(fresh)} codes are new to it, the first is {fresh[0]}", data.path, "give the whole codebook"
            )
        vectors = np.concatenate([vectors, codebook[fresh]])
    total = counts[used]
    if known:
        total[: len(data.counts)] += data.counts
    folder = Path(data.path)
    name = f"{encode.unused_name(folder, 'codebook')}.safetensors"
    codebooks.write(folder / name, total, vectors)
    new_id = np.zeros(manifest.full_vocabulary, np.uint16 if len(used) <= 1 << 16 else np.uint32)
    new_id[used] = np.arange(len(used))
    codebook_file = encode.measure(folder / name)
    changed = replace(manifest, used_codes=used, codebook=codebook_file, entropy=codebooks.entropy(total))
    return changed, new_id


def with_new_codec(folder: Path, manifest: Manifest, ids: np.ndarray, name: str) -> tuple[Manifest, Any]:
    """Fits one more codec to stored ids; returns the manifest that ends with it, and the codec."""
    from seit import codecs

    codec = codecs.fit(name, ids, max(2, manifest.vocabulary))
    entry = encode.write_codec(folder / f"{encode.unused_name(folder, 'codec')}.bin", codec)
    return replace(manifest, codecs=[*manifest.codecs, entry]), codec


def sample(splits: Mapping[str, TokenRows], new_id: np.ndarray) -> np.ndarray:
    """Returns stored ids of evenly spaced rows, at most about `FIT_CELLS` of them, to fit a codec on."""
    rows = sum(map(len, splits.values()))
    h, w = next(iter(splits.values())).grid
    step = max(1, -(-rows * h * w // encode.FIT_CELLS))
    return np.concatenate([new_id[part.tokenizer_ids(np.arange(0, len(part), step))] for part in splits.values()])


def count(rows: TokenRows) -> np.ndarray:
    """Counts the tokenizer's ids in some rows, int64 [full vocabulary]."""
    counts = np.zeros(rows.full_vocabulary, np.int64)
    for start in range(0, len(rows), 8192):
        ids = rows.tokenizer_ids(np.arange(start, min(start + 8192, len(rows))))
        counts += np.bincount(ids.reshape(-1), minlength=len(counts))
    return counts


def publish(folder: Path, manifest: Manifest) -> None:
    """Makes a new manifest the folder's state, then deletes the files that it no longer names."""
    manifests.write(folder, manifest)
    named = {file.file for file in manifest.files} | {manifests.NAME}
    for path in folder.iterdir():
        if path.name not in named and path.suffix in (".arrow", ".bin", ".safetensors"):
            path.unlink(missing_ok=True)
