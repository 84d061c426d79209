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

import torch
from safetensors.torch import load_file

from seit.augment.cutmix import CutMix
from seit.augment.noise import Noise
from seit.augment.resized_crop import ResizedCrop
from seit.progress import quiet
from seit.run import Run
from seit.training import Recipe, state
from seit.training.state import checkpoints

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from toys import Toy, Watch, lines_of, trained

RECIPE = Recipe(
    trunk="test_vit",
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


def train(folder: Path) -> None:
    """Trains, or goes on, and writes the weights last."""
    state.SOONEST, state.SHARE = 0.0, 1.0  # a checkpoint a step, so that kills fall into the writing of many
    model, _ = trained(Toy(150), RECIPE, folder, Watch(lambda _: {"top1": 0.5}))
    model.save_pretrained(folder / "classifier")
    (folder / "done").touch()


def attempt(folder: Path, after: float | None, number: int = signal.SIGKILL) -> bool:
    """Trains in a forked child, which gets a signal after some seconds; says whether it was through before."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            train(folder)
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, number)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) not in (0, 130):
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
                number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
                through = attempt(folder, None if last else rng.uniform(0.05, 0.5) * seconds, number)
                counts["kills"] += not through
                found = checkpoints(Run(folder))
                if not through and len(found) == 2 and rng.random() < 0.3:
                    os.truncate(found[0], found[0].stat().st_size // 2)
                    counts["checkpoints_cut"] += 1
            ended = load_file(folder / "classifier" / "model.safetensors")
            same = all(torch.equal(value, ended[key]) for key, value in wanted.items())
            counts["trainings"] += 1
            counts["identical"] += same and lines_of(folder) == lines_of(whole)
    return counts


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
