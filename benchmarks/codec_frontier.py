"""Draws bytes against speed: our codes in every size, general-purpose packers, and plain copying.

    python benchmarks/codec_frontier.py --json [--quick] [--data DIR] [--work DIR] [--out docs/codecs.png]

DIR (or SEIT_DATA) holds imagenet-samples-500. Bytes are payload and offsets of held-out photos' 32 x 32 ids, with
tables fitted on other photos and their mirror images; of packers the packed bytes and a 4-byte offset. Speeds are
medians on one core, in turns. --work keeps ids and the fitted learned code (minutes) for the next run. --quick:
fewer rounds, and the learned code in a tenth of its steps.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import harness
import ids as id_sets
import numpy as np
import speed

from seit import codecs
from seit.codecs import learned_fit, tables_fit
from seit.report.figures import Axis, Point, frontier
from seit.store.codebook import entropy


def main() -> None:
    """Prints one JSON document and draws it."""
    parser = harness.parser(__doc__, "a minute", pictures=True)
    parser.add_argument("--out", type=Path, help="a .png to draw")
    options = parser.parse_args()
    harness.run(__file__, options, measure_and_draw)


def measure_and_draw(options: argparse.Namespace) -> dict[str, Any]:
    """Fits every code, measures it, and draws the figure that --out names."""
    steps = learned_fit.STEPS // (10 if options.quick else 1)
    with tempfile.TemporaryDirectory() as nowhere:
        work = options.work or Path(nowhere)
        photos = id_sets.load(options.data, work, ("photos",))["photos"]
        with harness.one_core():
            points = measure(photos, fitted(photos, work, steps), 5 if options.quick else 60)
            small = id_sets.load(options.data, work, ("cifar10",))["cifar10"]
            blocks = [
                {"name": codec.name, **point}
                for codec in (codecs.fit("context", small.all, small.vocabulary), _auto(small))
                for point in block_sizes(codec, small.all, 1 if options.quick else 5)
            ]
    if options.out:
        draw(points, options.out)
    return {"rows": {"fit": len(photos.fit), "held": len(photos.held)}, "points": points, "blocks": blocks}


def _auto(ids: id_sets.Ids) -> codecs.Codec:
    """What `auto` takes for CIFAR-10's 50,000 rows."""
    return codecs.fit("auto", ids.all, ids.vocabulary, rows=50_000)


def block_sizes(codec: Any, ids: np.ndarray, seconds: float) -> list[dict[str, Any]]:
    """Bytes of a small grid's rows against the speeds of reading them, for several numbers of rows a block.

    Args:
        codec: of tables or a network.
        ids: [n, h, w].
        seconds: about how long to time each number.

    Returns:
        rows_per_block, bytes (payload and offsets of a row), in_order and random (rows a second, batches of 250).
    """
    random = np.random.default_rng(0).permutation(len(ids))[:2000].reshape(-1, 250)
    points = []
    for rows in (1, 2, 4, 8, 16, 32):
        sized = type(codec)(codec.vocabulary, codec.grid, codec.fitted, rows)
        payload, offsets = sized.encode(ids)

        def in_order(sized: Any = sized, coded: Any = (payload, offsets)) -> None:
            sized.decode(*coded, np.arange(min(8000, len(ids))))

        def at_random(sized: Any = sized, coded: Any = (payload, offsets)) -> None:
            for batch in random:
                sized.decode(*coded, batch)

        works = {"in_order": (in_order, min(8000, len(ids))), "random": (at_random, random.size)}
        speeds = {name: timed["per_s"] for name, timed in harness.in_turns(works, "in_order", seconds).items()}
        bytes_a_row = (len(payload) + 4 * len(offsets)) / len(ids)
        points.append({"rows_per_block": rows, "bytes": bytes_a_row, **speeds})
    return points


def fitted(photos: id_sets.Ids, work: Path, steps: int) -> dict[str, codecs.Codec]:
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


def measure(photos: id_sets.Ids, ours: dict[str, codecs.Codec], seconds: float) -> list[dict[str, Any]]:
    """Bytes an image, of these below H0, tables' bytes, and images a second, of each code."""
    held = photos.held
    h0 = entropy(np.bincount(held.reshape(-1))) * held[0].size / 8
    speeds = speed.decoding(held, ours, seconds)
    points = []

    def add(name: str, size: float, key: str, tables: int = 0) -> None:
        timed = {k: speeds[key][k] for k in ("per_s", "best_per_s", "of_ours_default", "quartiles")}
        points.append({"name": name, "bytes": size, "below_h0": 1 - size / h0, "table_bytes": tables, **timed})

    for name, codec in ours.items():
        payload, offsets = codec.encode(held)
        add(name, (len(payload) + 4 * len(offsets)) / len(held), f"ours_{name}", len(codec.to_bytes()))
    rows = [row.astype("<u2").tobytes() for row in held[:100]]
    for name, (pack, _) in speed.packers().items():
        add(name, float(np.mean([len(pack(row)) for row in rows])) + 4, f"{name}_an_image")
    add("uint16", 2.0 * held[0].size, "memcpy_uint16")
    return points


def draw(points: list[dict[str, Any]], out: Path) -> None:
    """The frontier of bytes and speed."""
    others = {"uint16", *speed.packers()}
    marks = [Point(p["name"], p["per_s"], p["bytes"], p["name"] not in others) for p in points]
    x = Axis("images decoded a second, one core", log=True, better="more")
    frontier(marks, x, Axis("bytes per image, payload and offsets", log=True, better="less")).write_png(out)


if __name__ == "__main__":
    main()
