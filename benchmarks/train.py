"""Times the training step: whether its input holds it back, tokens beside pixels, and whether ViT-B starts.

    python benchmarks/train.py --json [--quick] [--device cuda]

`loader_step_over_fixed_batch_step`: images a second of `token-in1k`'s step (rows of 32 x 32 ids over 391 codes x 32
dims read from a store, every augmentation of the recipe, ViT-Ti or ViT-S) over those of the same step on one
augmented batch that is kept in memory. Median of pairs of such steps in turn, with quartiles and extremes beside
it; `..._by_cpu_time` is the same in processor time, which other programs on the machine disturb less.

`token_epoch_over_pixel_epoch`: the step of `token-in1k` over that of `pixel-in1k` (JPEG files of ImageNet's mean
size, decoded and changed anew each time by worker processes), both with ViT-S; the paper has 5:12 over 5:40.

`vit_b_...`: `seit train --recipe token-in1k` in a process of its own on a store of 1,281,167 resampled rows, one
step of the whole batch of 1024 in parts of 16 (256 on CUDA). --quick takes 65,536 rows and a batch of 16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from input import CLASSES, jpegs, write_store

from seit import recipes
from seit.augment import Draws
from seit.device import machine, resolve
from seit.images import Source, open_source
from seit.loading import Batch, Resident
from seit.objectives import Classify, Objective
from seit.progress import quiet
from seit.run import Run
from seit.store import TokenDataset
from seit.training import Recipe
from seit.training.setup import assemble
from seit.training.state import State
from seit.training.step import update
from seit.training.stop import Stop

IMAGENET = 1_281_167
TRUNKS = {"vit_tiny": "deit_tiny_patch16_224", "vit_small": "deit_small_patch16_224"}


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--quick", action="store_true", help="about two minutes: fewer pairs, a smaller store")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    options = parser.parse_args()
    quiet()
    device = resolve(options.device)
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), device, options.quick)
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def run(folder: Path, device: str, quick: bool) -> dict[str, Any]:
    """Runs every measurement; see the module."""
    pairs = 10 if quick else 40
    sizes = {"vit_tiny": 16, "vit_small": 8}  # short steps: a shared machine changes its speed within seconds
    if device == "cuda":
        sizes = dict.fromkeys(sizes, 256)
    tokens = write_store(folder / "tokens")
    result: dict[str, Any] = {"schema": 1, "quick": quick, "batch": sizes, "pairs": pairs}
    name = "loader_step_over_fixed_batch_step"
    found = {trunk: loader_ratio(tokens, TRUNKS[trunk], sizes[trunk], pairs, device) for trunk in TRUNKS}
    for clock, key in (("wall", name), ("spread", f"{name}_spread"), ("cpu", f"{name}_by_cpu_time")):
        result[key] = {trunk: ratio[clock] for trunk, ratio in found.items()}
    result |= pixel_ratio(tokens, folder, sizes["vit_small"], pairs, device)
    result |= vit_b(folder, device, quick)
    return result | {"threads": torch.get_num_threads(), "machine": machine(device)}


class Stepper:
    """The loop's own step on its own feed, one call a step.

    Args:
        recipe: whose model and augmentations.
        opened: what it is fed from.
        device: where.
    """

    def __init__(self, recipe: Recipe, opened: Source | TokenDataset, device: str) -> None:
        self.training, self.stop = assemble(recipe, opened).training, Stop()
        self.state = State(self.training.model, recipe, Run(""), device)
        self.batches = self.training.feed.batches(0)

    def fed(self) -> None:
        """Makes a step on the next batch of the loader."""
        self._step(self.training.objective, next(self.batches))

    def fixed(self) -> Callable[[], None]:
        """Returns a step on one batch that is in memory, augmented already."""
        batch, objective, device = next(self.batches), self.training.objective, self.state.device
        draws = Draws(0, 0, batch.positions, batch=batch.size, device=device)
        inputs, labels = (torch.from_numpy(one).to(device) for one in (batch.inputs, batch.labels))
        made = objective.augment(inputs, labels, self.state.model.table, draws)
        fixed = Classify(self.state.model, lambda *_: made, objective.loss)
        return lambda: self._step(fixed, batch)

    def _step(self, objective: Objective, batch: Batch) -> None:
        update(self.state, objective, batch, self.training.plan.learning_rate(self.state.step), self.stop)
        if self.state.device.type == "cuda":
            torch.cuda.synchronize()


def loader_ratio(opened: TokenDataset, trunk: str, batch: int, pairs: int, device: str) -> dict[str, Any]:
    """Returns images a second of the fed step over those of the fixed one: medians of pairs, and their spread."""
    stepper = Stepper(replace(recipes.load("token-in1k"), trunk=trunk, batch_size=batch), opened, device)
    return compared(stepper.fixed(), stepper.fed, pairs)


def compared(first: Callable[[], None], second: Callable[[], None], pairs: int) -> dict[str, Any]:
    """Times two steps in turn; returns the first's time over the second's."""
    found = []
    for number in range(pairs + 1):
        pair: dict[Callable[[], None], tuple[float, float]] = {}
        for step in (first, second) if number % 2 else (second, first):
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            pair[step] = time.perf_counter() - wall, time.process_time() - cpu
        found.append([*pair[first], *pair[second]])
    times = np.array(found[1:])  # the first pair warms up
    ratios = times[:, 0] / times[:, 2]
    return {
        "wall": round(float(np.median(ratios)), 4),
        "spread": [round(float(np.quantile(ratios, q)), 4) for q in (0, 0.25, 0.75, 1)],
        "cpu": round(float(np.median(times[:, 1] / times[:, 3])), 4),
        "seconds": np.median(times[:, [0, 2]], axis=0).round(4).tolist(),
    }


def pixel_ratio(opened: TokenDataset, folder: Path, batch: int, pairs: int, device: str) -> dict[str, Any]:
    """Times the step of tokens beside that of pixels, each with its loader and augmentations."""
    kinds = {name: recipes.load(name) for name in ("token-in1k", "pixel-in1k")}
    small = {name: replace(recipe, trunk=TRUNKS["vit_small"], batch_size=batch) for name, recipe in kinds.items()}
    tokens = Stepper(small["token-in1k"], opened, device)
    pixels = Stepper(small["pixel-in1k"], photos(folder / "pixels"), device)
    found = compared(tokens.fed, pixels.fed, pairs)
    return {
        "token_epoch_over_pixel_epoch": found["wall"],
        "token_epoch_over_pixel_epoch_spread": found["spread"],
        "token_and_pixel_ms_per_image": [round(1000 * seconds / batch, 3) for seconds in found["seconds"]],
    }


def photos(folder: Path) -> Source:
    """Returns 1400 JPEG files in class folders: 14 photos under many names (hard links)."""
    files = jpegs()
    for number in range(100 * len(files)):
        path = folder / "train" / f"class {number % CLASSES:03}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < len(files):
            path.write_bytes(files[number])
        else:
            first = number % len(files)
            os.link(folder / "train" / f"class {first:03}" / f"{first}.jpg", path)
    return open_source(folder)


def vit_b(folder: Path, device: str, quick: bool) -> dict[str, Any]:
    """Makes one step of `seit train --recipe token-in1k` on a store of ImageNet's size, in a process of its own."""
    rows, batch = (65_536, 16) if quick else (IMAGENET, 1024)
    part = min(batch, 256 if device == "cuda" else 16)
    began = time.perf_counter()
    write_store(folder / "imagenet", rows)
    wrote = time.perf_counter()
    data = TokenDataset(folder / "imagenet", "train")
    opened = time.perf_counter()
    Resident(data)
    decoded = time.perf_counter()
    settings = {"epochs": 1 / (rows // batch), "warmup_epochs": 0, "batch_size": batch, "micro_batch": part}
    command = [sys.executable, "-m", "seit", "train", str(folder / "imagenet"), "--out", str(folder / "run")]
    command += ["--recipe", "token-in1k", "--device", device, "--json", "--quiet"]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with open(folder / "printed", "w+") as printed:
        child = subprocess.Popen(command, stdout=printed)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        result = json.loads(printed.read())
    if child.returncode:
        raise SystemExit(f"seit train: {result}")
    return {
        "vit_b_step_seconds": result["train_seconds"],
        "vit_b_rss_mb": round(used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1),
        "vit_b_rows": rows,
        "vit_b_batch": batch,
        "vit_b_micro_batch": part,
        "vit_b_parameters": result["parameters"],
        "vit_b_open_seconds": round(opened - wrote, 4),
        "vit_b_decode_into_memory_seconds": round(decoded - opened, 3),
        "vit_b_whole_command_seconds": round(time.perf_counter() - decoded, 2),
        "vit_b_write_store_seconds": round(wrote - began, 2),
    }


if __name__ == "__main__":
    main()
