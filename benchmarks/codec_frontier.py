"""Draws bytes against speed: our codes in every size, general-purpose packers, and plain copying.

    python benchmarks/codec_frontier.py --data DIR [--work DIR] [--out docs/codecs.png] [--seconds 60] [--json]

DIR (or SEIT_DATA) holds imagenet-samples-500. Bytes are payload and offsets of held-out photos' 32 x 32 ids, with
tables fitted on other photos and their mirror images; of packers the packed bytes and a 4-byte offset. Speeds are
medians on one core, in turns. --work keeps ids and the fitted learned code (minutes) for the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import store_data
import store_speed
import torch

from seit import codecs
from seit.codecs import learned_fit, tables_fit
from seit.report.figures import Axis, Point, frontier
from seit.store.codebook import entropy


def main() -> None:
    """Prints one JSON document and draws it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEIT_DATA"), help="folder of the picture sets")
    parser.add_argument("--work", type=Path, help="where ids and the learned code are kept (default: nowhere)")
    parser.add_argument("--out", type=Path, help="a .png to draw")
    parser.add_argument("--seconds", type=float, default=60, help="of timing")
    parser.add_argument("--steps", type=int, default=learned_fit.STEPS, help="of fitting the learned code")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as nowhere:
        work = options.work or Path(nowhere)
        photos = store_data.load(options.data and Path(options.data), work, False, ("photos",))["photos"]
        points = measure(photos, fitted(photos, work, options.steps), options.seconds)
    machine = {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()}
    result = {"schema": 1, "rows": [len(photos.fit), len(photos.held)], "points": points, "machine": machine}
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))
    if options.out:
        draw(points, options.out)


def fitted(photos: store_data.Ids, work: Path, steps: int) -> dict[str, codecs.Codec]:
    """Zero order, the context code in each size that `auto` tries, and the learned code."""
    names = {"zero order": "zero-order", "default": "context"}
    found = {name: codecs.fit(codec, photos.fit, photos.vocabulary) for name, codec in names.items()}
    place = tables_fit.tree(photos.fit, photos.vocabulary)
    for size in tables_fit.SIZES:
        codec = tables_fit.of_size(photos.fit, photos.vocabulary, place, size)[0]
        if len(codec.to_bytes()) != len(found["default"].to_bytes()):
            found[f"{size[0]} classes"] = codec
    kept = work / f"learned-{len(photos.fit)}-{steps}.bin"
    if not kept.exists():
        kept.write_bytes(learned_fit.fit(photos.fit, photos.vocabulary, steps).to_bytes())
    return found | {"learned": codecs.load(kept.read_bytes())}


def measure(photos: store_data.Ids, ours: dict[str, codecs.Codec], seconds: float) -> list[dict[str, Any]]:
    """Bytes an image, of these below H0, tables' bytes, and images a second, of each code."""
    held = photos.held
    h0 = entropy(np.bincount(held.reshape(-1))) * held[0].size / 8
    speeds = store_speed.decode_table(held, ours, seconds)
    points = []

    def add(name: str, size: float, key: str, tables: int = 0) -> None:
        speed = {k: speeds[key][k] for k in ("images_per_s", "best_images_per_s", "of_ours_default", "quartiles")}
        points.append({"name": name, "bytes": size, "below_h0": 1 - size / h0, "table_bytes": tables, **speed})

    for name, codec in ours.items():
        payload, offsets = codec.encode(held)
        add(name, (len(payload) + 4 * len(offsets)) / len(held), f"ours_{name}", len(codec.to_bytes()))
    rows = [row.astype("<u2").tobytes() for row in held[:100]]
    for name, (pack, _) in store_speed.packers().items():
        add(name, float(np.mean([len(pack(row)) for row in rows])) + 4, f"{name}_an_image")
    add("uint16", 2.0 * held[0].size, "memcpy_uint16")
    return points


def draw(points: list[dict[str, Any]], out: Path) -> None:
    """The frontier of bytes and speed."""
    others = {"uint16", *store_speed.packers()}
    marks = [Point(p["name"], p["images_per_s"], p["bytes"], p["name"] not in others) for p in points]
    x = Axis("images decoded a second, one core", log=True, better="more")
    frontier(marks, x, Axis("bytes per image, payload and offsets", log=True, better="less")).write_png(out)


if __name__ == "__main__":
    main()
