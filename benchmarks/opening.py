"""What opening and reading a store costs in seconds and in anonymous memory, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

START = """
import json, multiprocessing, sys, time
import numpy as np
import seit.codecs, seit.loading, seit.store
def anonymous(process="self"):
    status = open(f"/proc/{process}/status").read() if sys.platform == "linux" else "RssAnon: 0"
    return int(status.split("RssAnon:")[1].split()[0]) / 1024
"""

OPEN = (
    START
    + """
before, start = anonymous(), time.perf_counter()
data = seit.store.TokenDataset(sys.argv[1])
seconds = time.perf_counter() - start
opened = anonymous() - before
start = time.perf_counter()
data[len(data) // 2]
first = time.perf_counter() - start
times = []
for row in np.random.default_rng(0).integers(0, len(data), 200):
    start = time.perf_counter()
    data[row]
    times.append(time.perf_counter() - start)
print(json.dumps([seconds, opened, first, anonymous() - before, len(data), 1e6 * float(np.median(times))]))
"""
)

EPOCH = (
    START
    + """
path, workers, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data, size, owned = seit.store.TokenDataset(path), 128, []
positions = range(0, min(rows, len(data)), size)
orders = (seit.loading.rows_of(data, np.arange(p, min(p + size, len(data))), 0, 0) for p in positions)
if workers:
    from torch.utils.data import DataLoader
    batches = DataLoader(data, batch_sampler=orders, num_workers=workers, collate_fn=len)
else:
    batches = (len(data.batch(order)[0]) for order in orders)
start = time.perf_counter()
for number, _ in enumerate(batches):
    # a tenth into the epoch every shard is mapped and every worker warm
    if number in (len(positions) // 10, len(positions) - 1 - 2 * workers):
        owned.append(sum(anonymous(p.pid) for p in multiprocessing.active_children()) if workers else anonymous())
print(json.dumps([owned[1] - owned[0], owned[1], len(positions) * size / (time.perf_counter() - start)]))
"""
)


def opening(path: Path, name: str) -> dict[str, float]:
    """Opens a store, over what the imports cost; best of three."""
    seconds, mb, first, first_mb, rows, row = min(_run(OPEN, path) for _ in range(3))
    return {
        f"open_seconds_{name}": seconds,
        f"open_rss_anon_mb_{name}": mb,
        f"open_and_first_row_seconds_{name}": seconds + first,
        f"open_and_first_row_rss_anon_mb_{name}": first_mb,
        f"open_rows_{name}": rows,
        f"row_microseconds_{name}": row,
    }


def epoch(path: Path, workers: int, rows: int) -> dict[str, float]:
    """Reads a shuffled epoch of at most `rows` rows; the growth of all processes' anonymous memory, and its end."""
    grown, owned, speed = _run(EPOCH, path, workers, rows)
    return {
        f"epoch_rss_anon_growth_mb_{workers}_workers": grown,
        f"epoch_rss_anon_mb_{workers}_workers": owned,
        f"epoch_images_per_s_{workers}_workers": speed,
    }


def _run(program: str, *arguments: object) -> list[float]:
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
