"""The loop, top to bottom: batches -> augmented vectors -> loss -> step; the same for ids and for pixels.

A step depends on (recipe, data, step number) and the weights before it alone: order and augmentation are functions
of (seed, epoch, position), and the global random state is set anew for every step. So a run that was killed goes on
from its snapshot to the same final weights.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from torch import Tensor

from seit import checkpoint
from seit.augment import Draws, Pipeline
from seit.device import autocast
from seit.errors import RunError
from seit.files import write_bytes
from seit.loading import batches
from seit.loading.rows import Rows
from seit.models import Classifier
from seit.progress import progress
from seit.training.recipe import Recipe
from seit.training.schedule import learning_rate

_SNAPSHOT_SECONDS = 60
SNAPSHOT, METRICS = "snapshot.safetensors", "metrics.jsonl"

Evaluate = Callable[[Classifier], dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """What the recipe means for these rows.

    Attributes:
        batch_size: rows of a step, at most the rows there are.
        epoch_steps: steps of one epoch; an incomplete last batch is left out.
        steps: of the whole run.
        warmup: of them, of linear rise.
    """

    batch_size: int
    epoch_steps: int
    steps: int
    warmup: int

    @classmethod
    def of(cls, recipe: Recipe, rows: int) -> Plan:
        """Works out the plan for a number of training rows."""
        batch_size = min(recipe.batch_size, rows)
        epoch_steps = rows // batch_size
        return cls(
            batch_size,
            epoch_steps,
            max(1, round(recipe.epochs * epoch_steps)),
            round(recipe.warmup_epochs * epoch_steps),
        )


def fit(
    model: Classifier,
    augment: Pipeline,
    rows: Rows,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    evaluate: Evaluate,
    device: str = "cpu",
) -> dict[str, float]:
    """Trains `model` in place, or goes on from the snapshot in `folder`.

    Args:
        model: a fresh classifier, built after `torch.manual_seed(recipe.seed)`.
        augment: from ids (or pixels) and labels to vectors and targets.
        rows: the training rows.
        recipe: every other choice.
        folder: where snapshot and metrics lie.
        evaluate: called at the end of every epoch; returns (name -> value).
        device: where to train.

    Returns:
        The last evaluation, with `train_seconds`, `train_cpu_seconds` and `data_wait_share` of this call.

    Raises:
        RunError: the loss is not finite, or the snapshot is of another run.
    """
    folder = Path(folder)
    plan = Plan.of(recipe, len(rows))
    model.to(torch.device(device)).to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(
        model, recipe.optimizer, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    step = _resume(folder, model, optimizer, recipe)
    started, cpu, waited, saved = time.monotonic(), time.process_time(), 0.0, time.monotonic()
    values: dict[str, float] = {} if step < plan.steps else evaluate(model)
    with progress(plan.steps, "train", "steps", done=step) as bar:
        feed = _feed(rows, recipe, plan, step)
        while step < plan.steps:
            asked = time.monotonic()
            epoch, positions, inputs, labels = next(feed)
            waited += time.monotonic() - asked
            loss = _step(model, augment, optimizer, recipe, plan, step, (epoch, positions, inputs, labels))
            step += 1
            bar.update(1, f"epoch {step / plan.epoch_steps:.1f}, loss {loss:.3f}{_shown(values)}")
            ends_epoch = step % plan.epoch_steps == 0 or step == plan.steps
            if ends_epoch:
                values = evaluate(model)
                _record(folder, {"step": step, "epoch": step / plan.epoch_steps, "loss": loss, **values})
            if time.monotonic() - saved > _SNAPSHOT_SECONDS or (ends_epoch and step < plan.steps):
                checkpoint.save(folder / SNAPSHOT, model, optimizer, {"recipe": recipe.to_json(), "step": step})
                saved = time.monotonic()
    seconds = time.monotonic() - started
    return {
        **values,
        "train_seconds": seconds,
        "train_cpu_seconds": time.process_time() - cpu,
        "data_wait_share": waited / seconds if seconds else 0.0,
    }


def _feed(rows: Rows, recipe: Recipe, plan: Plan, step: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Yields (epoch, positions [B], inputs, labels [B]) from step number `step` on."""
    for epoch in range(step // plan.epoch_steps, math.ceil(plan.steps / plan.epoch_steps)):
        start = (step % plan.epoch_steps) * plan.batch_size if epoch == step // plan.epoch_steps else 0
        for positions, inputs, labels in batches(rows, plan.batch_size, recipe.seed, epoch, start, drop_last=True):
            if labels is None or (labels.ndim == 1 and labels.min() < 0):
                raise RunError("not every row has a label", cure="give images that lie in class folders")
            yield epoch, torch.from_numpy(positions), torch.from_numpy(inputs), torch.from_numpy(labels)


def _step(
    model: Classifier,
    augment: Pipeline,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    plan: Plan,
    step: int,
    batch: tuple[int, Tensor, Tensor, Tensor],
) -> float:
    """Makes one update; returns its loss."""
    epoch, positions, inputs, labels = batch
    device = next(model.parameters()).device
    torch.manual_seed(recipe.seed * 1_000_003 + step)  # stochastic depth draws from the global state
    rate = learning_rate(step, plan.steps, plan.warmup, recipe.learning_rate, recipe.final_learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    model.train()
    draws = Draws(recipe.seed, epoch, positions, batch=plan.batch_size, device=device)
    vectors, targets = augment(inputs.to(device), labels.to(device), model.table, draws)
    with autocast(device, recipe.precision):
        logits = model(vectors)
    loss = -(targets * F.log_softmax(logits.float(), -1)).sum(-1).mean()
    if not torch.isfinite(loss):
        raise RunError(
            f"the loss became {loss.item()} at step {step} (labels {labels[:8].tolist()}, ...)",
            cure="lower the learning rate, or set precision to float32",
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return loss.item()


def _resume(folder: Path, model: Classifier, optimizer: torch.optim.Optimizer, recipe: Recipe) -> int:
    """Returns the step to go on from: that of the snapshot, or 0."""
    metrics = folder / METRICS
    if not (folder / SNAPSHOT).exists():
        metrics.unlink(missing_ok=True)
        return 0
    about, _ = checkpoint.restore(folder / SNAPSHOT, model, optimizer)
    if about["recipe"] != recipe.to_json():
        raise RunError(
            "was left by another recipe", str(folder / SNAPSHOT), "remove the folder, or repeat that recipe"
        )
    if metrics.exists():
        # A full disk may have cut the last line: what does not end is of no step that the snapshot knows.
        whole = metrics.read_text().rpartition("\n")[0].splitlines()
        kept = [line for line in whole if json.loads(line)["step"] <= about["step"]]
        write_bytes(metrics, "".join(line + "\n" for line in kept).encode())
    return about["step"]


def _record(folder: Path, values: dict[str, Any]) -> None:
    """Appends one line to metrics.jsonl."""
    with open(folder / METRICS, "a") as file:
        file.write(json.dumps(values) + "\n")


def _shown(values: dict[str, float]) -> str:
    return f", top-1 {100 * values['top1']:.1f}%" if "top1" in values else ""
