"""Kills a training with SIGKILL at random moments until it is through; the weights must be the undisturbed run's.

Each attempt is a forked child, so that imports are not repeated; after a kill the next child goes on from the last
checkpoint, now and then with the newest one cut short before. What a run must carry over is on: an average of the
weights, accumulation, stochastic depth, a learned table, and mixing.

    python tests/stress/train_kills.py --kills 20 --json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from seit.augment import Pipeline
from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.models import build
from seit.progress import quiet
from seit.training import Recipe, fit, loop
from seit.training.logs import METRICS, TIMED
from seit.training.state import checkpoints

sys.path.insert(0, str(Path(__file__).parents[1]))
from memory_rows import MemoryRows

RECIPE = Recipe(
    trunk="test_vit",
    stem="conv3",
    learned=True,
    drop_path=0.2,
    epochs=3,
    batch_size=24,
    micro_batch=16,
    warmup_epochs=1,
    ema=0.9,
    clip=1.0,
    precision="float32",
    augment=(ResizedCrop(), CutMix(0.7), Noise(0.5)),
)


class Plain(MemoryRows):
    """150 rows of ids whose class is plain to see."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 150)
        super().__init__(labels[:, None, None] * 4 + rng.integers(0, 4, (150, 8, 8)), labels, ["a", "b", "c"])


def train(folder: Path) -> None:
    """Trains, or goes on, and writes the weights last."""
    loop._CHECKPOINT_SECONDS = 0  # a checkpoint a step, so that kills fall into the writing of many
    torch.manual_seed(RECIPE.seed)
    codebook = torch.linspace(-1, 1, 12)[:, None] * torch.ones(12, 4)
    rows = Plain()
    model = build(RECIPE.trunk, RECIPE.stem, 4, rows.grid, 3, codebook=codebook, learned=True, drop_path=0.2)
    augment = Pipeline(RECIPE.augment, rows.grid, model.input_grid, 3, codebook=model.table, view=model.view_grid)
    fit(model, augment, rows, RECIPE, folder, lambda _: {"top1": 0.5})
    model.save_pretrained(folder / "classifier")
    (folder / "done").touch()


def attempt(folder: Path, after: float | None) -> bool:
    """Trains in a forked child, killed after some seconds; says whether it was through before."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            train(folder)
            os._exit(0)
        finally:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a training failed by itself")
    return (folder / "done").exists()


def run(kills: int, seed: int = 0) -> dict[str, float]:
    """Kills one training after the other until `kills` have hit one that was alive.

    Returns:
        kills; trainings, of which each was killed several times; checkpoints cut short by hand besides; and
        identical, how many trainings ended with the undisturbed one's weights and metrics, bit for bit.
    """
    rng = random.Random(seed)
    counts = {"kills": 0, "trainings": 0, "checkpoints_cut": 0, "identical": 0}
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        start = time.perf_counter()
        attempt(whole, None)
        seconds = time.perf_counter() - start
        wanted = load_file(whole / "classifier" / "model.safetensors")
        while counts["kills"] < kills or not counts["trainings"]:
            folder = Path(name) / f"killed{counts['trainings']}"
            folder.mkdir()
            through = False
            while not through:
                # Short enough that a training of so many seconds is hit several times.
                last = counts["kills"] >= kills
                through = attempt(folder, None if last else rng.uniform(0.05, 0.5) * seconds)
                counts["kills"] += not through
                found = checkpoints(folder)
                if not through and len(found) == 2 and rng.random() < 0.3:
                    os.truncate(found[0], found[0].stat().st_size // 2)
                    counts["checkpoints_cut"] += 1
            ended = load_file(folder / "classifier" / "model.safetensors")
            same = all(torch.equal(value, ended[key]) for key, value in wanted.items())
            counts["trainings"] += 1
            counts["identical"] += same and metrics_of(folder) == metrics_of(whole)
    return counts


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """Returns the lines of a run's metrics without what the clock says."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMED} for line in lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    quiet()
    result = run(options.kills, options.seed)
    print(json.dumps(result) if options.json else "\n".join(f"{name} {value}" for name, value in result.items()))
    if result["identical"] < result["trainings"]:
        raise SystemExit("some trainings ended with other weights")
