"""What `seit info` shows: every byte of a store beside its source, without decoding anything.

Bytes are exact; kB is 1000 bytes and GiB 2^30. The paper's Table 1 mixes the units, so nothing is divided here.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store import manifest as manifests
from seit.store.codebook import entropy
from seit.store.dataset import TokenDataset
from seit.store.entries import Manifest

_CHUNK = 8192


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describes a token data set from its manifest and labels alone.

    Args:
        path: its folder.

    Returns:
        JSON-able: what it is (tokenizer, grid, vocabulary, classes, splits, source), `bytes` of each part,
        `bytes_per_image` beside the source's, `share` of the JPEG files in %, entropy, rows of each class.

    Raises:
        StoreError: no token data set.
    """
    dataset = TokenDataset(path)
    manifest = dataset.manifest
    sizes = ledger(manifest, len(manifests.to_bytes(manifest)))
    images = manifest.rows // manifest.views
    return {
        "path": os.fspath(path),
        "tokenizer": manifest.tokenizer,
        "grid": list(manifest.grid),
        "vocabulary": manifest.full_vocabulary,
        "codes_used": manifest.vocabulary,
        "codec": sorted({codec.name for codec in manifest.codecs}),
        "labels": manifest.labels,
        "classes": len(manifest.classes),
        "views": manifest.views,
        "splits": manifest.splits,
        "images": images,
        "source": manifest.source,
        "created": manifest.created,
        "bytes": sizes,
        "bytes_per_image": per_image(manifest, sizes, images),
        "share_of_files_percent": _percent(sizes["total"], manifest.source.get("file_bytes", 0)),
        "share_of_scans_percent": _percent(sizes["total"], manifest.source.get("payload_bytes", 0)),
        "entropy_bits_per_id": manifest.entropy,
        "log2_codes_used": math.log2(max(manifest.vocabulary, 1)),
        "rows_per_class": rows_per_class(manifest),
    }


def ledger(manifest: Manifest, manifest_bytes: int) -> dict[str, int]:
    """Returns the bytes of every part of a store; they add up to `total`, its size on disk."""
    shards = manifest.shards
    tables = sum(4 * -(-manifest.codecs[shard.codec].bytes // 3) for shard in shards)  # base64
    checks = sum(4 * -(-shard.rows // manifest.codecs[shard.codec].rows_per_block) for shard in shards)
    parts = {
        "payload": sum(shard.payload_bytes for shard in shards),
        "offsets": sum(shard.offset_bytes for shard in shards),
        "labels": sum(shard.label_bytes for shard in shards),
        "checks": checks,
        "codec_tables": tables,
        "container": sum(
            shard.data.bytes - shard.payload_bytes - shard.offset_bytes - shard.label_bytes for shard in shards
        )
        - tables
        - checks,
        "side_table": sum(shard.side.bytes for shard in shards),
        "codebook": manifest.codebook.bytes if manifest.codebook else 0,
        "superseded": sum(file.bytes for file in manifest.superseded),
        "manifest": manifest_bytes,
    }
    return parts | {"total": sum(parts.values())}


def per_image(manifest: Manifest, sizes: dict[str, int], images: int) -> dict[str, float]:
    """Returns bytes per image: as stored, as the source's files and JPEG scans, and at the paper's optima."""
    cells = manifest.cells * manifest.views
    coded = sizes["payload"] + sizes["offsets"] + sizes["labels"]
    return {
        "payload": sizes["payload"] / max(images, 1),
        "payload_offsets_labels": coded / max(images, 1),
        "total": sizes["total"] / max(images, 1),
        "source_file": manifest.source.get("file_bytes", 0) / max(images, 1),
        "source_scan": manifest.source.get("payload_bytes", 0) / max(images, 1),
        "entropy": manifest.entropy * cells / 8,
        "uniform": math.log2(max(manifest.vocabulary, 1)) * cells / 8,
    }


def rows_per_class(manifest: Manifest) -> dict[str, int]:
    """Returns how many rows carry each class, over all splits; multi-labels count in each of theirs."""
    counts = sum(manifest.class_counts.values(), np.zeros(len(manifest.classes), np.int64))
    return dict(zip(manifest.classes, counts.tolist(), strict=True)) if manifest.class_counts else {}


def per_class(dataset: TokenDataset) -> dict[str, dict[str, float]]:
    """Measures each class over all splits; decodes every row once.

    Args:
        dataset: with class, multi or soft labels; a row counts in each of its classes.

    Returns:
        Of each class: images, payload_bytes_per_image (rows that share a block of the codec share its bytes),
        source_file_bytes_per_image, source_scan_bytes_per_image, entropy_bits_per_id (H0 of its own ids) and
        codes_used.

    Raises:
        StoreError: rows have no labels, or are damaged.
    """
    if dataset.label_kind == "none":
        raise StoreError("has no labels", dataset.path, "ask for the whole data set alone")
    labels = dataset.labels
    assert labels is not None
    sizes = _row_bytes(dataset)
    found = {}
    with progress(len(dataset.classes), "measure", "classes") as bar:
        for number, name in enumerate(dataset.classes):
            rows = np.flatnonzero(labels == number if labels.ndim == 1 else labels[:, number])
            counts = np.zeros(dataset.vocabulary, np.int64)
            for first in range(0, len(rows), _CHUNK):
                ids = dataset.ids(rows[first : first + _CHUNK])
                counts += np.bincount(ids.reshape(-1), minlength=len(counts))
            images = len(rows) / dataset.views
            payload, file, scan = (sizes[rows].sum(0) / max(images, 1)).tolist()
            found[name] = {
                "images": images,
                "payload_bytes_per_image": payload,
                "source_file_bytes_per_image": file / dataset.views,
                "source_scan_bytes_per_image": scan / dataset.views,
                "entropy_bits_per_id": entropy(counts),
                "codes_used": int((counts > 0).sum()),
            }
            bar.update(1)
    return found


def _row_bytes(dataset: TokenDataset) -> np.ndarray:
    """Returns payload, source file and source scan bytes of each row, float64 [rows, 3]."""
    tables = [dataset.side_table(shard)[0] for shard in dataset.manifest.shards]
    columns = [[getattr(table, name) for table in tables] for name in ("source_bytes", "source_payload_bytes")]
    every = np.arange(len(dataset))
    return np.column_stack([dataset.bytes_at(every), *(np.concatenate([[], *column]) for column in columns)])


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
