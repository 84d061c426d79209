"""Changes one byte of a token data set, again and again: does `verify` name the file, and what does a reader do?

    python tests/stress/corruptions.py --count 1000        # random bytes of random files
    python tests/stress/corruptions.py --every             # every byte of every file of a tiny store, one bit each

Half of the corruptions hit a store whose images decode alone (32 x 32 ids), half one whose images share blocks
(8 x 8). Reads run in forked children, so that a crash is counted and ends nothing else. A plain read may return
wrong ids without an error (`read_silently_wrong`): checksums are read by `verify` alone.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seit.errors import SeitError
from seit.progress import quiet
from seit.store import RowTable, TokenDataset, TokenWriter
from seit.store.verify import verify

CHILD = 50  # corruptions a forked child goes through
CODES = 64


def write(out: Path, side: int, rows: int) -> np.ndarray:
    """Writes a store of `rows` training and as many validation rows; returns their ids [2 rows, side, side]."""
    rng = np.random.default_rng(side)
    ids = (rng.random((2 * rows, side, side)) ** 2 * CODES).astype(np.int64)
    writer = TokenWriter(
        out,
        tokenizer={"name": "toy", "identity": "toy"},
        codebook=rng.normal(size=(CODES, 4)).astype(np.float32),
        grid=(side, side),
        classes=["a", "b"],
        source={"name": "random"},
        plan="corruptions",
        codec="zero-order",
    )
    for number, split in enumerate(("train", "val")):
        part = ids[number * rows : number * rows + rows]
        writer.write(
            number, split, part, np.arange(rows) % 2, RowTable.named([f"{split}/{i}" for i in range(rows)])
        )
    writer.commit()
    return ids


def randomly(path: Path, count: int, rng: random.Random) -> Iterator[tuple[Path, int, int]]:
    """Yields (file, place, change) of random corruptions; large files are hit as often as small ones."""
    files = sorted(path.iterdir())
    for _ in range(count):
        file = rng.choice(files)
        yield file, rng.randrange(file.stat().st_size), rng.randrange(1, 256)


def everywhere(path: Path) -> Iterator[tuple[Path, int, int]]:
    """Yields one flipped bit of every byte of every file."""
    for file in sorted(path.iterdir()):
        for place in range(file.stat().st_size):
            yield file, place, 1 << (place % 8)


def outcome(path: Path, file: Path, place: int, change: int, ids: np.ndarray) -> list[str]:
    """Corrupts one byte, asks `verify` and a reader, and mends it again."""
    original = file.read_bytes()
    damaged = bytearray(original)
    damaged[place] ^= change
    file.write_bytes(damaged)
    try:
        found = ["reported" if any(one.file == file.name for one in verify(path)) else "missed"]
        try:
            data = TokenDataset(path)
            every = np.arange(len(data))
            read, labels, names = data.tokenizer_ids(every), data.labels, data.names(every)
            same = (read == ids).all() and (labels == every % (len(ids) // 2) % 2).all()
            same &= names == [f"{split}/{i}" for split in ("train", "val") for i in range(len(ids) // 2)]
            return [*found, "read_right" if same else "read_silently_wrong"]
        except SeitError:
            return [*found, "read_refused"]
    finally:
        file.write_bytes(original)


def in_children(path: Path, ids: np.ndarray, places: list[tuple[Path, int, int]]) -> collections.Counter[str]:
    """Runs corruptions in forked children; one that dies counts its unfinished corruption as a crash."""
    counts: collections.Counter[str] = collections.Counter()
    originals = {file: file.read_bytes() for file in path.iterdir()}
    while places:
        asked, places = places[:CHILD], places[CHILD:]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                for place in asked:
                    os.write(writing, (json.dumps(outcome(path, *place, ids)) + "\n").encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            done = [json.loads(line) for line in lines]
        os.waitpid(child, 0)
        for found in done:
            counts.update(found)
        if len(done) < len(asked):
            counts["crashed"] += 1
            places = asked[len(done) + 1 :] + places
            for file, data in originals.items():
                file.write_bytes(data)
    return counts


def run(count: int, seed: int = 0, every: bool = False) -> dict[str, int]:
    """Corrupts `count` random bytes (or every byte) of the two stores.

    Returns:
        corruptions, reported and missed (by verify), read_right, read_refused, read_silently_wrong, crashed.
    """
    keys = ("reported", "missed", "read_right", "read_refused", "read_silently_wrong", "crashed")
    total: collections.Counter[str] = collections.Counter(dict.fromkeys(keys, 0))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for side in (8, 32):
            path = Path(folder) / f"{side}"
            ids = write(path, side, 4 if every else 20)
            TokenDataset(path).ids([0])  # compiles the decoder, which the children then inherit
            places = list(everywhere(path) if every else randomly(path, count // 2, rng))
            total.update({"corruptions": len(places)})
            total.update(in_children(path, ids, places))
    return dict(total)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="every byte of a smaller store (minutes)")
    options = parser.parse_args()
    quiet()
    print(json.dumps(run(options.count, options.seed, options.every)))
