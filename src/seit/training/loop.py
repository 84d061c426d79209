"""The loop, top to bottom: batches -> augmented vectors -> loss -> step; the same for ids and for pixels.

A step depends on (recipe, data, step number) and the weights before it alone: order, augmentation and stochastic
depth are functions of (seed, epoch, position in the epoch). So a run that was killed goes on from its checkpoint to
the same final weights, and a batch that is split, over processes or into parts that fit a device, gives the same
update up to rounding.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seit import ranks
from seit.augment import Draws, Pipeline
from seit.device import autocast
from seit.errors import RunError
from seit.loading import batches, epoch_size, rows_of
from seit.loading.rows import Rows
from seit.models import Classifier
from seit.training import depth
from seit.training.logs import METRICS, Log
from seit.training.losses import loss_for, row_losses
from seit.training.recipe import Recipe
from seit.training.schedule import learning_rate
from seit.training.state import State

_CHECKPOINT_SECONDS = 60
BEST = "best"

Evaluate = Callable[[Classifier], dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """What the recipe means for these rows.

    Attributes:
        batch_size: rows of a step over all processes, at most the rows there are.
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
        """Works out the plan for a number of training rows (or images, where an epoch counts those)."""
        batch_size = min(recipe.batch_size, rows)
        epoch_steps = rows // batch_size
        return cls(
            batch_size,
            epoch_steps,
            max(1, round(recipe.epochs * epoch_steps)),
            round(recipe.warmup_epochs * epoch_steps),
        )


class Batch(NamedTuple):
    """This process's part of one step.

    Attributes:
        epoch: its number.
        positions: int64 [b], the rows' places in the epoch.
        inputs: ids [b, h, w], or pixels [b, 3, H, W].
        labels: int64 [b], or [b, C].
    """

    epoch: int
    positions: Tensor
    inputs: Tensor
    labels: Tensor


def fit(
    model: Classifier,
    augment: Pipeline,
    rows: Rows,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    evaluate: Evaluate,
    device: str = "cpu",
    log_to: Sequence[str] = (),
) -> dict[str, float]:
    """Trains `model` in place, or goes on from the last checkpoint in `folder`.

    Called by every process of a run that `torchrun` started; rank 0 alone writes.

    Args:
        model: a fresh classifier, built after `torch.manual_seed(recipe.seed)`.
        augment: from ids (or pixels) and labels to vectors and targets.
        rows: the training rows.
        recipe: every other choice.
        folder: where checkpoints, metrics and the best weights lie.
        evaluate: called at the end of every epoch; returns (name -> value), the same on every process. The weights
            of the highest "top1" (or "map") are kept in the folder `best`.
        device: where to train.
        log_to: names of `logs.TRACKERS` that get every line of the metrics too.

    Returns:
        The last evaluation, with `best_<name>` and `best_step`, and `train_seconds`, `train_cpu_seconds` and
        `data_wait_share` of this call.

    Raises:
        RunError: a loss or gradient is not finite, the disk is full, or the checkpoints are of another run.
    """
    folder = Path(folder)
    plan = Plan.of(recipe, epoch_size(rows, recipe.one_view))
    model.to(torch.device(device)).to(memory_format=torch.channels_last)
    state = State(model, recipe, folder)
    state.resume()
    started, cpu, saved = time.monotonic(), time.process_time(), time.monotonic()
    values: dict[str, float] = {} if state.step < plan.steps else evaluate(state.shown)
    with Log(folder, recipe.to_json(), plan.steps, plan.epoch_steps, plan.batch_size, state.step, log_to) as log:
        feed = _feed(rows, recipe, plan, state.step)
        while state.step < plan.steps:
            asked = time.monotonic()
            batch = next(feed)
            waited = time.monotonic() - asked
            loss = _step(state, augment, plan, rows, batch)
            state.step += 1
            state.losses += loss
            log.step(state.step, loss, waited)
            ends_epoch = state.step % plan.epoch_steps == 0 or state.step == plan.steps
            if ends_epoch:
                values = evaluate(state.shown)
                _keep_best(state, values)
                mean = state.losses / ((state.step - 1) % plan.epoch_steps + 1)
                rate = learning_rate(state.step - 1, plan.steps, plan.warmup, recipe)
                log.epoch(state.step, {"loss": mean, "learning_rate": rate, **values})
                state.losses = 0.0
            if time.monotonic() - saved > _CHECKPOINT_SECONDS or (ends_epoch and state.step < plan.steps):
                if ranks.rank() == 0:
                    state.save()
                saved = time.monotonic()
    if state.average is not None:
        model.load_state_dict(state.shown.state_dict())
    if ranks.rank() == 0 and state.step and model.config.classes > 1:
        _warn(folder, model.config.classes)
    seconds = time.monotonic() - started
    return {
        **values,
        **{f"best_{name}": value for name, value in state.best.items()},
        "train_seconds": seconds,
        "train_cpu_seconds": time.process_time() - cpu,
        "data_wait_share": log.waited / seconds if seconds else 0.0,
    }


def _feed(rows: Rows, recipe: Recipe, plan: Plan, step: int) -> Iterator[Batch]:
    """Yields this process's part of every batch from step number `step` on."""
    first = step // plan.epoch_steps
    for epoch in range(first, math.ceil(plan.steps / plan.epoch_steps)):
        found = batches(
            rows,
            plan.batch_size,
            recipe.seed,
            epoch,
            (step % plan.epoch_steps) * plan.batch_size if epoch == first else 0,
            rank=ranks.rank(),
            ranks=ranks.count(),
            one_view=recipe.one_view,
            repeats=recipe.repeats,
            drop_last=True,
        )
        for positions, inputs, labels in found:
            if labels is None or (labels.ndim == 1 and labels.min() < 0):
                raise RunError("not every row has a label", cure="give images that lie in class folders")
            yield Batch(epoch, *map(torch.from_numpy, (positions, inputs, labels)))


def _step(state: State, augment: Pipeline, plan: Plan, rows: Rows, batch: Batch) -> float:
    """Makes one update; returns its loss."""
    recipe, optimizer, scaler = state.recipe, state.optimizer, state.scaler
    rate = learning_rate(state.step, plan.steps, plan.warmup, recipe)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    state.model.train()
    optimizer.zero_grad(set_to_none=True)
    losses = []
    parts = _parts(len(batch.positions), recipe.micro_batch)
    for part in parts:
        draws = Draws(recipe.seed, batch.epoch, batch.positions[part], batch=plan.batch_size, device=state.device)
        inputs, labels = batch.inputs[part].to(state.device), batch.labels[part].to(state.device)
        vectors, targets = augment(inputs, labels, state.model.table, draws)
        depth.draw(state.depth, draws)
        with contextlib.nullcontext() if part is parts[-1] or ranks.count() == 1 else state.network.no_sync():
            with autocast(state.device, recipe.precision):
                logits = state.network(vectors)
            losses.append(row_losses(loss_for(recipe.loss, labels), logits, targets))
            # The mean over the batch of all processes, of whose gradients the mean is taken.
            share = losses[-1].sum() * (ranks.count() / plan.batch_size)
            scaler.scale(share).backward()
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip or math.inf)
    found = torch.cat(losses).detach().double().cpu().numpy()
    loss = float(ranks.summed(found.sum())) / plan.batch_size
    _check(loss, norm, found, state, rows, batch, plan)
    scaler.step(optimizer)
    scaler.update()
    if state.average is not None:
        state.average.update(state.model, state.step + 1)
    return loss


def _parts(rows: int, most: int) -> list[slice]:
    """Returns the parts of a batch that go through the network at once: whole pairs, of at most `most` rows."""
    most = most or rows
    return [slice(start, start + most) for start in range(0, rows, most)]


def _check(
    loss: float, norm: Tensor, losses: np.ndarray, state: State, rows: Rows, batch: Batch, plan: Plan
) -> None:
    """Stops before an update that would spoil the weights, and names the rows that were fed."""
    recipe = state.recipe
    too_large = state.scaler.is_enabled() and state.scaler.get_scale() >= 1  # half precision: the scale is lowered
    if math.isfinite(loss) and (too_large or bool(torch.isfinite(norm))):
        return
    what = f"the gradient's norm became {norm.item()}" if math.isfinite(loss) else f"the loss became {loss}"
    fed = rows_of(
        rows,
        batch.positions.numpy(),
        recipe.seed,
        batch.epoch,
        one_view=recipe.one_view,
        repeats=recipe.repeats,
        batch_size=plan.batch_size,
    )
    # Batch norm spreads what one row brings in over all of them, so the inputs are asked first.
    for bad in (
        ~torch.isfinite(batch.inputs).flatten(1).all(1).numpy(),
        ~np.isfinite(losses),
        np.full(len(fed), True),
    ):
        if bad.any():
            guilty = fed[bad]
            break
    named = ", ".join(map(str, guilty[:8])) + (", ..." if len(guilty) > 8 else "")
    raise RunError(
        f"{what} at step {state.step} (epoch {batch.epoch}, {len(guilty)} of {len(fed)} rows: {named})",
        cure="look at those rows, lower the learning rate, or set precision to float32",
    )


def _keep_best(state: State, values: dict[str, float]) -> None:
    """Keeps the weights if no earlier ones were better."""
    named = next((name for name in ("top1", "map") if name in values), None)
    if named is None or values[named] <= state.best.get(named, -1.0):
        return
    state.best = {named: values[named], "step": state.step}
    if ranks.rank() == 0:
        state.shown.save_pretrained(state.folder / BEST)


def _warn(folder: Path, classes: int) -> None:
    """Says so if the run ended no better than by guessing (cross-entropy; BCE's mean over classes is far below)."""
    loss = json.loads((folder / METRICS).read_text().splitlines()[-1])["loss"]
    if loss > math.log(classes):
        logging.getLogger(__name__).warning(
            "the loss ended at %.2f, above the %.2f of guessing among %d classes; lower the learning rate",
            loss,
            math.log(classes),
            classes,
        )
