"""Damages payloads and codec files for as long as told; a decoder must refuse them or return ids in range.

    python tests/stress/codec_fuzz.py --seconds 60 [--seed 0] [--json]

Prints, for each code and kind of damage, how many were tried, refused, silent (decoded to wrong ids) and harmless
(decoded to the right ones). Whatever else happens (another exception, an id out of range, an endless loop) ends the
program with an error and the seed. Codes are fitted to ids made by rule; the learned one's numbers are drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "codecs"))
from made_codecs import codec, smooth_ids

from seit import codecs
from seit.errors import CodecError

KINDS = (
    "a bit",
    "a byte",
    "some bytes",
    "two blocks swapped",
    "cut",
    "offsets",
    "codec file",
    "codec tables",
    "noise",
)


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    options = parser.parse_args()
    result = run(options.seconds, options.seed)
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def run(seconds: float, seed: int) -> dict[str, dict[str, dict[str, int]]]:
    """Damages in turn every code's bytes in every way; returns counts by code, kind and outcome."""
    subjects = []
    for name in ("zero-order", "context", "learned"):
        for n, side, vocabulary in ((6, 32, 512), (70, 8, 100)):
            ids = smooth_ids(n, side, side, vocabulary)
            fitted = codec(name, ids, vocabulary)
            subjects.append((f"{name} {side} x {side}", fitted, ids, *fitted.encode(ids)))
    counts: dict[str, dict[str, Counter]] = {name: {kind: Counter() for kind in KINDS} for name, *_ in subjects}
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        for name, *subject in subjects:
            for kind in KINDS:
                try:
                    counts[name][kind][attempt(kind, rng, *subject)] += 1
                except Exception as error:
                    raise SystemExit(f"{name}, {kind}, --seed {seed}: {type(error).__name__}: {error}") from error
    return {
        name: {kind: {"tried": outcomes.total(), **outcomes} for kind, outcomes in kinds.items()}
        for name, kinds in counts.items()
    }


def attempt(kind: str, rng: np.random.Generator, fitted, ids, payload, offsets) -> str:
    """Damages once and reads one row that it concerns; returns "refused", "silent" or "harmless"."""
    payload, offsets = payload.copy(), offsets.copy()
    block = int(rng.integers(len(offsets) - 1))
    start, stop = offsets[block], offsets[block + 1]
    at = int(rng.integers(start, stop))
    row = min(block * fitted.rows_per_block + int(rng.integers(fitted.rows_per_block)), len(ids) - 1)
    if kind == "a bit":
        payload[at] ^= 1 << rng.integers(8)
    elif kind == "a byte":
        payload[at] ^= rng.integers(1, 256)
    elif kind == "some bytes":
        payload[at : at + rng.integers(2, 40)] = rng.integers(0, 256)
    elif kind == "two blocks swapped":
        other = int(rng.integers(len(offsets) - 1))
        parts = [payload[offsets[b] : offsets[b + 1]] for b in range(len(offsets) - 1)]
        parts[block], parts[other] = parts[other], parts[block]
        payload = np.concatenate(parts)
    elif kind == "cut":
        payload = payload[: rng.integers(len(payload))]
    elif kind == "offsets":
        offsets[rng.integers(block, block + 2)] = rng.choice(
            [rng.integers(-9, len(payload) + 9), 1 << 62, -(1 << 62)]
        )
    else:
        data = damaged_codec(kind, rng, fitted.to_bytes())
    try:
        reader = codecs.load(data) if kind in KINDS[-3:] else fitted
        found = reader.decode(payload, offsets, np.array([row]))[0]
    except CodecError:
        return "refused"
    if found.max() >= reader.vocabulary:
        raise ValueError(f"id {found.max()} of {reader.vocabulary}")
    return "harmless" if np.array_equal(found, ids[row]) else "silent"


def damaged_codec(kind: str, rng: np.random.Generator, data: bytes) -> bytes:
    """Damages a codec file; "codec tables" below the checksum of their compression."""
    if kind == "noise":
        return data[:20] + rng.integers(0, 256, rng.integers(0, 300)).astype(np.uint8).tobytes()
    head = data[: 20 + data[9]]
    part = bytearray(data if kind == "codec file" else zlib.decompress(data[len(head) :]))
    part[rng.integers(len(part))] ^= int(rng.integers(1, 256))
    return bytes(part) if kind == "codec file" else head + zlib.compress(part, 1)


if __name__ == "__main__":
    main()
