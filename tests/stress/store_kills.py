"""Kills writers at random moments and checks that nothing is lost, doubled or half there.

Each round a forked child writes a small token data set (or appends to one) and is killed with SIGKILL. Afterwards
the folder must be absent, the old data set or the new one; a second call must finish it, every row exactly once.

    python tests/stress/store_kills.py --rounds 100
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from seit.progress import quiet
from seit.store import RowTable, TokenDataset, TokenWriter
from seit.store.append import append
from seit.store.verify import verify

PARTS, ROWS = 6, 50


def rows_of(seed: int) -> np.ndarray:
    """Ids of one store, [rows, 8, 8]."""
    return np.random.default_rng(seed).integers(0, 30 + seed, (PARTS * ROWS, 8, 8))


def write(out: Path, seed: int) -> None:
    """Writes a store, resuming what an earlier call left."""
    writer = TokenWriter(
        out,
        tokenizer={"name": "toy", "identity": "toy"},
        codebook=np.eye(64, 4, dtype=np.float32),
        grid=(8, 8),
        classes=["a", "b"],
        source={"name": "random"},
        plan=f"seed {seed}",
        codec="zero-order",
    )
    ids = rows_of(seed)
    for part in range(PARTS):
        if part not in writer.finished:
            first = part * ROWS
            names = [f"{seed}/{first + i}" for i in range(ROWS)]
            writer.write(part, "train", ids[first : first + ROWS], np.arange(ROWS) % 2, RowTable.named(names))
    writer.commit()


def grow(out: Path, other: Path) -> None:
    """Appends one store to another."""
    append(out, {"train": TokenDataset(other)}, "zero-order")


def killed(work: Callable[[], None], after: float) -> bool:
    """Runs `work` in a forked child and kills it after some seconds; says whether it was still alive."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check(out: Path, seeds: list[int]) -> None:
    """Fails unless the store is whole and holds exactly the rows of `seeds`, in order."""
    found = verify(out)
    data = TokenDataset(out)
    expected = np.concatenate([rows_of(seed) for seed in seeds])
    names = [f"{seed}/{i}" for seed in seeds for i in range(PARTS * ROWS)]
    if found or len(data) != len(expected):
        raise SystemExit(f"{out}: {found or len(data)}")
    if (data.tokenizer_ids(np.arange(len(data))) != expected).any() or data.names(np.arange(len(data))) != names:
        raise SystemExit(f"{out}: other rows than were written")


def run(rounds: int, seed: int = 0) -> dict[str, int]:
    """Kills `rounds` living writers, half of them while they write and half while they append.

    Returns:
        rounds (also those in which the writer was faster), killed_alive, and how often the old and the new state
        was found.
    """
    rng = random.Random(seed)
    counts = {"rounds": 0, "killed_alive": 0, "found_old": 0, "found_new": 0}
    with tempfile.TemporaryDirectory() as folder:
        base, other = Path(folder) / "base", Path(folder) / "other"
        write(base, 1)  # compiles the coder, which the children then inherit
        write(other, 2)
        start = time.perf_counter()
        write(Path(folder) / "timed", 1)
        seconds = time.perf_counter() - start
        while counts["killed_alive"] < rounds:
            number = counts["rounds"]
            counts["rounds"] += 1
            out = Path(folder) / f"out{number}"
            work = partial(write, out, 3)
            if number % 2:
                shutil.copytree(base, out)
                work = partial(grow, out, other)
            counts["killed_alive"] += killed(work, rng.random() * 1.1 * seconds)
            if number % 2 == 0:
                counts["found_new" if out.exists() else "found_old"] += 1
                if not out.exists():
                    write(out, 3)
                check(out, [3])
            else:
                new = len(TokenDataset(out)) == 2 * PARTS * ROWS
                counts["found_new" if new else "found_old"] += 1
                check(out, [1, 2] if new else [1])
                if not new:
                    work()
                    check(out, [1, 2])
            shutil.rmtree(out)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    quiet()
    print(json.dumps(run(options.rounds, options.seed)))
