"""Token data sets that benchmarks make: resampled rows of real ids, in any number, by the public writer."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from ids import Ids

from seit.store import RowTable, TokenDataset, TokenWriter
from seit.store import manifest as manifests

_PART = 65_536  # rows staged at a time


def resampled(ids: Ids, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws rows of real grids with replacement, and random labels of 1,000 classes."""
    rng = np.random.default_rng(seed)
    return ids.all[rng.integers(0, len(ids.all), rows)], rng.integers(0, 1000, rows)


def write_store(out: Path, ids: Ids, rows: int) -> Path:
    """Writes resampled rows as a zero-order store, with names and sizes such as ImageNet's."""
    writer = TokenWriter(
        out,
        tokenizer={"name": "resampled", "identity": "resampled"},
        codebook=np.zeros((ids.vocabulary, 16), np.float32),
        grid=ids.all.shape[1:],
        classes=[f"class {i}" for i in range(1000)],
        source={"name": "resampled"},
        plan="benchmark",
        codec="zero-order",
    )
    for number, first in enumerate(range(0, rows, _PART)):
        part, labels = resampled(ids, min(_PART, rows - first), number)
        names = [f"train/n{label:08d}/n{label:08d}_{number}{i}.JPEG" for i, label in enumerate(labels)]
        sizes = np.full(len(part), 110_000)
        hashes = np.random.default_rng(number).integers(0, 1 << 63, len(part))
        writer.write(number, "train", part, labels, RowTable(names, sizes, sizes, hashes, sizes, sizes))
    return writer.commit()


def enlarged(path: Path, rows: int) -> Path:
    """Returns a store of at least `rows` rows whose shards are those of `path` under many names (hard links)."""
    manifest = TokenDataset(path).manifest
    if rows <= manifest.rows:
        return path
    out = path.with_name(f"{path.name}-{rows}")
    out.mkdir()
    shutil.copy(path / manifest.codebook.file, out / manifest.codebook.file)
    times = -(-rows // manifest.rows)
    shards = []
    for shard in manifest.shards * times:
        data, side = (
            replace(file, file=f"train-{len(shards):05d}.{file.file.partition('.')[2]}")
            for file in (shard.data, shard.side)
        )
        for old, new in ((shard.data, data), (shard.side, side)):
            os.link(path / old.file, out / new.file)
        shards.append(replace(shard, data=data, side=side))
    counts = {split: count * times for split, count in manifest.class_counts.items()}
    grown = replace(manifest, shards=shards, code_counts=manifest.code_counts * times, class_counts=counts)
    manifests.write(out, grown)
    return out
