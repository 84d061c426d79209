"""Prints what `benchmarks/store.py --json` found as the Markdown tables of docs/store.md.

python benchmarks/store.py --json > found.json && python benchmarks/store_tables.py found.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Returns a Markdown table; numbers are rounded to what a reader compares."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 else f"{value:,.1f}"
        return str(value)

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def tables(found: dict[str, Any]) -> str:
    """Returns all tables of one run."""
    sets = found["table1_bytes_per_image"]
    codes = list(dict.fromkeys(name for column in sets.values() for name in column))
    sizes = table(["bytes an image", *sets], [[name, *(sets[s].get(name, "-") for s in sets)] for name in codes])
    speeds = table(
        ["decoder", "images/s", "of the default", "quartiles"],
        [
            [name, one["images_per_s"], one["of_ours_default"], " to ".join(f"{q:.3g}" for q in one["quartiles"])]
            for name, one in found["decode"].items()
        ],
    )
    rivals = []
    for name, one in found["instead"].items():
        if isinstance(one, str):
            rivals.append([name, one, "-", "-", "-", "-", "-"])
            continue
        rates = [one[kind][key] for kind in ("random", "epoch") for key in ("images_per_s", "of_ours")]
        rivals.append([name, one["bytes_per_image"], 1000 * one["open_s"], *rates])
    instead = table(
        ["container", "bytes an image", "open, ms", "random images/s", "of ours", "epoch images/s", "of ours"],
        rivals,
    )
    flat = table(["key", "value"], [[key, value] for key, value in found.items() if isinstance(value, int | float)])
    return "\n\n".join([sizes, speeds, instead, flat, f"Machine: {found['machine']}"])


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text())))
