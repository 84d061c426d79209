"""Measures the token store on real ids: bytes (the paper's Table 1), encoding, decoding, opening and epochs.

    python benchmarks/store.py --json [--quick] [--data DIR] [--work DIR]

DIR (or SEIT_DATA) holds imagenet-samples-500, cifar10 and tiny-imagenet-50; embedded pictures stand in for the
first two (see ids.py). --work keeps their ids for the next run. All but tokenizing runs on one core.

h0_ratios are bytes over H0 of the same ids: payload and offsets, and for `h0_ratio_zero_order` labels, too.
Held-out rows are coded with tables fitted to others (of photos to mirror images, too); `h0_ratio_auto_cifar10` is
what a store holds by default, fitted to the 50,000 rows that it codes. Speeds of 1,024 ids a row are measured in
turns; `encode_rows_per_s_*` and `decode_images_per_s_*` are the best round of each. --quick: fewer rows and rounds,
and no tiny-imagenet-50; some minutes more where the ids are not kept yet.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import harness
import ids as id_sets
import made
import numpy as np
import opening
import speed
from ids import Ids

import seit
from seit import codecs
from seit.codecs import escape

IMAGENET = 1_281_167
MODES = {"zero_order": "zero-order", "default": "auto", "smallest": "learned"}


def main() -> None:
    """Prints one JSON document."""
    parser = harness.parser(__doc__, "about three minutes, on fewer rows", pictures=True)
    harness.run(__file__, parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs every measurement; see the module."""
    quick = options.quick
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        scratch = Path(folder)
        names = ("photos", "cifar10") if quick else ("photos", "cifar10", "tiny")
        sets = id_sets.load(options.data, options.work or scratch, names)
        with harness.one_core():
            coders = {name: fitted(ids, quick and name != "photos") for name, ids in sets.items()}
            return {
                "rows": {
                    name: {"source": Path(ids.source).name, "fit": len(ids.fit), "held": len(ids.held)}
                    for name, ids in sets.items()
                },
                **ratios(sets, coders),
                "table_bytes": {
                    name: {mode: len(codec.to_bytes()) for mode, codec in modes.items()}
                    for name, modes in coders.items()
                },
                "table1_bytes_per_image": {name: table1(ids, coders[name]) for name, ids in sets.items()},
                **speeds(sets["photos"].held, coders["photos"], 5 if quick else 40),
                **large_store(scratch, sets["photos"], 20_000 if quick else IMAGENET),
            }


def fitted(ids: Ids, quick: bool) -> dict[str, codecs.Codec]:
    """Fits each mode to the part that is not held out; if quick, only the default."""
    modes = {mode: name for mode, name in MODES.items() if mode == "default" or not quick}
    return {mode: codecs.fit(name, ids.fit, ids.vocabulary) for mode, name in modes.items()}


def h0_bytes(ids: np.ndarray) -> float:
    """Returns the bytes of a row at the zero-order entropy of these very ids."""
    counts = np.bincount(ids.reshape(-1))
    share = counts[counts > 0] / ids.size
    return float(-(share * np.log2(share)).sum()) * ids[0].size / 8


def coded(codec: codecs.Codec, ids: np.ndarray) -> float:
    """Returns payload and offsets of some rows, bytes a row."""
    payload, offsets = codec.encode(ids)
    return (len(payload) + 4 * len(offsets)) / len(ids)


def ratios(sets: dict[str, Ids], coders: dict[str, dict[str, codecs.Codec]]) -> dict[str, Any]:
    """Returns bytes over H0: of held-out rows, and of CIFAR-10 as a store holds it."""
    result: dict[str, Any] = {}
    for name, modes in coders.items():
        for mode, codec in modes.items():
            held = sets[name].held
            result[f"h0_ratio_{mode}_{name}"] = coded(codec, held) / h0_bytes(held)
            result[f"codec_{mode}_{name}"] = codec.name
    cifar = sets["cifar10"]
    start = time.perf_counter()
    codec = codecs.fit("auto", cifar.all, cifar.vocabulary)
    result["fit_seconds_auto_cifar10"] = time.perf_counter() - start
    result["h0_ratio_auto_cifar10"] = coded(codec, cifar.all) / h0_bytes(cifar.all)
    return {**result, "h0_ratio_auto_cifar10_rows": len(cifar.all), "codec_auto_cifar10": codec.name}


def speeds(held: np.ndarray, coders: dict[str, codecs.Codec], seconds: float) -> dict[str, Any]:
    """Returns the tables of encoding and decoding speeds, and the best round of each of our modes."""
    encode, decode = speed.encoding(held, coders, seconds), speed.decoding(held, coders, seconds)
    best = {f"encode_rows_per_s_{mode}": encode[mode]["best_per_s"] for mode in coders}
    best |= {f"decode_images_per_s_{mode}": decode[f"ours_{mode}"]["best_per_s"] for mode in coders}
    return {**best, "encode": encode, "decode": decode}


def large_store(scratch: Path, photos: Ids, rows: int) -> dict[str, Any]:
    """Writes a zero-order store of resampled photo grids; returns its bytes, and what opening and reading costs."""
    start = time.perf_counter()
    path = made.write_store(scratch / "large", photos, rows)
    written = time.perf_counter() - start
    about = seit.info(path)
    sizes = about["bytes"]
    an_image = about["bytes_per_image"]
    result = {
        "h0_ratio_zero_order": an_image["payload_offsets_labels"] / an_image["entropy"],
        "h0_ratio_zero_order_rows": rows,
        "store_bytes": {**sizes, "rows": rows, "write_seconds": written},
        "store_share_percent": {part: 100 * size / sizes["total"] for part, size in sizes.items()},
    }
    for name, count in (("1m28", IMAGENET), ("10m", 10_000_000)):
        result |= opening.opening(made.enlarged(path, count), name)
    for workers in (0, 8):
        result |= opening.epoch(path, workers, rows if workers == 0 else rows // 4)
    return result


def table1(ids: Ids, coders: dict[str, codecs.Codec]) -> dict[str, Any]:
    """Returns the paper's Table 1 on the held-out part, bytes an image; ours fitted on the other part."""
    grids = ids.held
    n, plain = len(grids), grids.reshape(len(grids), -1)
    narrow = plain.astype("<u2").tobytes()
    symbols, _ = escape.encode(escape.popularity(np.bincount(plain.reshape(-1)))[plain])
    packer = zlib.compressobj(9, zlib.DEFLATED, 31, 9, zlib.Z_HUFFMAN_ONLY)
    table: dict[str, Any] = {
        "uint8_pixels": float(ids.pixels),
        "jpeg": ids.file_bytes,
        "jpeg_without_headers": ids.scan_bytes,
        "uint16": 2.0 * plain.shape[1],
        "log2_k": float(np.log2(len(np.unique(grids))) * plain.shape[1] / 8),
        "zero_order_entropy": h0_bytes(grids),
        "escape": len(symbols) / n,
        "escape_huffman": len(packer.compress(symbols.tobytes()) + packer.flush()) / n,
    }
    table |= {f"ours_{mode}": coded(codec, grids) for mode, codec in coders.items()}
    some = plain[:: max(1, n // 200)].astype("<u2")
    for name, (pack, _) in speed.packers().items():
        table[f"{name}_an_image"] = float(np.mean([len(pack(row.tobytes())) for row in some]))
        table[f"{name}_whole_set"] = len(pack(narrow)) / n
    return table


if __name__ == "__main__":
    main()
