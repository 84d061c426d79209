"""Writes the test vectors of `FORMAT.md`, small codecs with blocks that they made, as JSON:

    PYTHONPATH=src:tests/codecs python tests/codecs/write_vectors.py tests/codecs/vectors.json

Once a version is released its vectors are never written again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from made_codecs import codec, network, smooth_ids

from seit.codecs.base import Codec
from seit.codecs.tables import TableCodec, Tables


def worked_example() -> tuple[Codec, np.ndarray]:
    """The codec and the eight ids that `FORMAT.md` works by hand."""
    one, zeros = np.zeros(5, np.uint8), np.zeros((1, 1), np.uint8)
    costs, within = np.zeros((1, 1), np.uint8), np.array([[[0, 4, 8, 8]]], np.uint8)
    place, table_of = np.arange(4, dtype=np.uint32), np.zeros((1, 1), np.uint16)
    tables = Tables(place, one, one, table_of, zeros, zeros, zeros[:, :, None], costs, within)
    return TableCodec(4, (2, 4), tables, rows_per_block=1), np.array([[[3, 0, 2, 1], [0, 2, 3, 3]]])


def vectors() -> dict[str, tuple[Codec, np.ndarray]]:
    """Returns a codec and the ids that it codes for each vector."""
    context, learned = smooth_ids(21, 5, 5, 12), smooth_ids(3, 4, 4, 10)
    wide = np.array([[[0, 65_536, 65_540], [255, 256, 1], [40_000, 65_535, 0]]])
    fitted = codec("context", context, 12).fitted
    small = network(10, (4, 4), hidden=8, rank=2)
    return {
        "tables, one step, worked by hand": worked_example(),
        "tables, two steps, a short last block": (TableCodec(12, (5, 5), fitted, rows_per_block=8), context),
        "network, a short last block": (type(small)(10, (4, 4), small.fitted, rows_per_block=2), learned),
        "tables, 32-bit ids": (codec("zero-order", wide, 65_541), wide),
    }


def write(path: Path) -> None:
    """Writes all vectors."""
    entries = []
    for name, (fitted, ids) in vectors().items():
        payload, offsets = fitted.encode(ids)
        entries.append(
            {
                "name": name,
                "codec": fitted.to_bytes().hex(),
                "offsets": offsets.tolist(),
                "payload": payload.tobytes().hex(),
                "ids": ids.tolist(),
            }
        )
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
