"""Measures the token store on real ids: bytes (the paper's Table 1), decoding, opening, and the alternatives.

    python benchmarks/store.py --json [--quick] [--data DIR] [--work DIR]

DIR (or SEIT_DATA) holds imagenet-samples-500, tiny-imagenet-50 and cifar10; --work keeps the tokenised ids for the
next run. Everything runs on one core. h0_ratios are bytes over H0 of the same ids: payload and offsets, and for the
zero-order code labels too. Photos: tables are fitted on other photos and their mirror images. Speeds are measured
in turns (`store_speed.in_turns`); the `decode_images_per_s_*` are the best round of each. --quick takes about a
minute where the ids are kept already, on fewer rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import store_data
import store_memory
import store_rivals
import store_speed
import torch

from seit import codecs
from seit.codecs import escape, learned_fit
from seit.progress import quiet
from seit.store import RowTable, TokenDataset, TokenWriter
from seit.store import manifest as manifests
from seit.store.codebook import entropy
from seit.store.describe import ledger

IMAGENET = 1_281_167
MODES = {"zero_order": "zero-order", "default": "context", "smallest": "learned"}


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--quick", action="store_true", help="about a minute, on fewer rows")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEIT_DATA"), help="folder of the picture sets")
    parser.add_argument("--work", type=Path, help="where tokenised ids are kept (default: nowhere)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    quiet()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        result = run(options.data and Path(options.data), options.work, Path(folder), options.quick)
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def run(data: Path | None, work: Path | None, scratch: Path, quick: bool) -> dict[str, Any]:
    """Runs every measurement; see the module."""
    sets = store_data.load(data, work or scratch, quick)
    photos, cifar = sets["photos"], sets["cifar10"]
    coders = {name: fit(ids, quick) for name, ids in sets.items()}
    fitted = coders["photos"]
    rows = 20_000 if quick else IMAGENET
    big = Big(scratch / "big", photos, rows)
    result: dict[str, Any] = {
        "schema": 1,
        "quick": quick,
        "rows": {name: {"fit": len(ids.fit), "held": len(ids.held)} for name, ids in sets.items()},
        "h0_ratio_zero_order": big.ratio,
        "h0_ratio_zero_order_rows": rows,
        "h0_ratio_default_photos": ratio(fitted["default"], photos.held),
        "h0_ratio_default_cifar10": ratio(coders["cifar10"]["default"], cifar.held),
        "h0_ratio_smallest_photos": ratio(fitted["smallest"], photos.held),
    }
    result["decode"] = store_speed.decode_table(photos.held, fitted, 5 if quick else 40)
    for mode in MODES:
        result[f"decode_images_per_s_{mode}"] = result["decode"][f"ours_{mode}"]["best_images_per_s"]
    for name, count in (("1m28", IMAGENET), ("10m", 10_000_000)):
        result |= store_memory.opening(big.enlarged(count), name)
    for workers in (0, 8):
        result |= store_memory.epoch(big.path, workers, rows if workers == 0 else rows // 4)
    result["store_bytes"] = big.bytes
    result["store_share_percent"] = {
        part: 100 * big.bytes[part] / big.bytes["total"] for part in ledger(big.manifest, big.bytes["manifest"])
    }
    result["table_bytes"] = {
        name: {mode: len(codec.to_bytes()) for mode, codec in modes.items()} for name, modes in coders.items()
    }
    result["table1_bytes_per_image"] = {name: table1(ids, coders[name]) for name, ids in sets.items()}
    count = 4000 if quick else 100_000
    ids, labels = resampled(photos, count)
    ours = write_store(scratch / "ours", photos, ids, labels)
    distinct = np.concatenate([photos.fit, photos.held])
    result["instead"] = store_rivals.compare(ids, labels, distinct, ours, scratch, 5 if quick else 60)
    result["instead_rows"] = count
    result["machine"] = {"cpu": cpu(), "python": platform.python_version(), "load": os.getloadavg()}
    return result


def cpu() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def fit(ids: store_data.Ids, quick: bool) -> dict[str, codecs.Codec]:
    """Fits each mode; if quick, the learned one in a tenth of its steps, and to photos alone: it takes minutes."""
    fitted = {
        mode: codecs.fit(codec, ids.fit, ids.vocabulary) for mode, codec in MODES.items() if mode != "smallest"
    }
    if not quick or ids.name == "photos":
        steps = learned_fit.STEPS // 10 if quick else learned_fit.STEPS
        fitted["smallest"] = learned_fit.fit(ids.fit, ids.vocabulary, steps)
    return fitted


def h0_bytes(ids: np.ndarray) -> float:
    """Bytes an image at the zero-order entropy of these very ids."""
    return entropy(np.bincount(ids.reshape(-1))) * ids[0].size / 8


def coded(codec: codecs.Codec, ids: np.ndarray) -> float:
    """Payload and offsets of some ids, bytes an image."""
    payload, offsets = codec.encode(ids)
    return (len(payload) + 4 * len(offsets)) / len(ids)


def ratio(codec: codecs.Codec, ids: np.ndarray) -> float:
    """Payload and offsets over H0 of the same ids."""
    return coded(codec, ids) / h0_bytes(ids)


def resampled(ids: store_data.Ids, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws rows of real grids with replacement, and random labels of 1000 classes."""
    rng = np.random.default_rng(seed)
    grids = np.concatenate([ids.fit, ids.held])
    return grids[rng.integers(0, len(grids), rows)], rng.integers(0, 1000, rows)


def write_store(out: Path, like: store_data.Ids, ids: np.ndarray, labels: np.ndarray) -> Path:
    """Writes rows as a zero-order store by the public writer."""
    writer = new_writer(out, like)
    stage(writer, 0, ids, labels)
    return writer.commit()


def new_writer(out: Path, like: store_data.Ids) -> TokenWriter:
    return TokenWriter(
        out,
        tokenizer={"name": like.name, "identity": like.name},
        codebook=np.zeros((like.vocabulary, 16), np.float32),
        grid=like.fit.shape[1:],
        classes=[f"class {i}" for i in range(1000)],
        source={"name": "resampled"},
        plan="benchmark",
        codec="zero-order",
    )


def stage(writer: TokenWriter, number: int, ids: np.ndarray, labels: np.ndarray) -> None:
    names = [f"train/n{label:08d}/n{label:08d}_{number}{i}.JPEG" for i, label in enumerate(labels)]
    fixed = np.full(len(ids), 110_000)
    hashes = np.random.default_rng(number).integers(0, 1 << 63, len(ids))
    writer.write(number, "train", ids, labels, RowTable(names, fixed, fixed, hashes, fixed, fixed))


class Big:
    """A zero-order store of resampled photo grids, written by the public writer.

    Attributes:
        ratio: payload, offsets and labels over H0 of the same ids.
        bytes: of each part of the store.
        write_seconds: of staging and committing it.
    """

    def __init__(self, out: Path, photos: store_data.Ids, rows: int) -> None:
        start = time.perf_counter()
        writer = new_writer(out, photos)
        for number, first in enumerate(range(0, rows, 65_536)):
            stage(writer, number, *resampled(photos, min(65_536, rows - first), number))
        self.path, self.rows = writer.commit(), rows
        self.write_seconds = time.perf_counter() - start
        self.manifest = TokenDataset(self.path).manifest
        sizes = ledger(self.manifest, (self.path / manifests.NAME).stat().st_size)
        coded = sizes["payload"] + sizes["offsets"] + sizes["labels"]
        self.ratio = coded / rows / (self.manifest.entropy * self.manifest.cells / 8)
        self.bytes: dict[str, Any] = sizes | {"rows": rows, "write_seconds": self.write_seconds}

    def enlarged(self, rows: int) -> Path:
        """Returns a store of at least `rows` rows whose shards are this one's under many names (hard links)."""
        if rows <= self.rows:
            return self.path
        out = self.path.with_name(f"{self.path.name}-{rows}")
        out.mkdir()
        manifest = self.manifest
        for file in (manifest.codebook, *manifest.codecs):
            shutil.copy(self.path / file.file, out / file.file)
        shards = []
        while sum(shard.rows for shard in shards) < rows:
            shard = manifest.shards[len(shards) % len(manifest.shards)]
            data, side = (
                replace(file, file=f"train-{len(shards):05d}.{file.file.partition('.')[2]}")
                for file in (shard.data, shard.side)
            )
            for old, new in ((shard.data, data), (shard.side, side)):
                os.link(self.path / old.file, out / new.file)
            shards.append(replace(shard, data=data, side=side))
        manifests.write(out, replace(manifest, shards=shards))
        return out


def table1(ids: store_data.Ids, coders: dict[str, codecs.Codec]) -> dict[str, Any]:
    """The paper's Table 1 on the held-out part, bytes an image; ours with tables fitted on the other part."""
    grids = ids.held
    n, plain = len(grids), grids.reshape(len(grids), -1)
    narrow = plain.astype("<u2").tobytes()
    table: dict[str, Any] = {
        "uint8_pixels": float(ids.pixels),
        "jpeg": ids.file_bytes,
        "jpeg_without_headers": ids.scan_bytes,
        "uint16": 2.0 * plain.shape[1],
        "zero_order_entropy": h0_bytes(grids),
        "log2_k": float(np.log2(len(np.unique(grids))) * plain.shape[1] / 8),
    }
    symbols, _ = escape.encode(escape.popularity(np.bincount(plain.reshape(-1)))[plain])
    table["escape"], table["escape_huffman"] = len(symbols) / n, len(escape.huffman(symbols.tobytes())) / n
    table |= {f"ours_{mode}": coded(codec, grids) for mode, codec in coders.items()}
    for name, (pack, _) in store_speed.packers().items():
        table[f"{name}_whole_set"] = len(pack(narrow)) / n
        some = plain[:: max(1, n // 200)].astype("<u2")
        table[f"{name}_an_image"] = float(np.mean([len(pack(row.tobytes())) for row in some]))
    return table


if __name__ == "__main__":
    main()
