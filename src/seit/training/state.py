"""Everything of a training that changes from step to step, and how it is kept on disk."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seit import checkpoint, ranks
from seit.device import autocast
from seit.errors import RunError
from seit.run import Run
from seit.training import depth
from seit.training.recipe import Recipe

SHARE, SOONEST = 0.02, 30.0
"""Checkpoints take at most this share of the time, and are at least so many seconds apart."""


class State:
    """Weights, their average, the optimizer's moments, the loss scale and the step.

    Args:
        model: a fresh model; it is moved to the device, and its layers of stochastic depth are replaced.
        recipe: optimizer, precision and average.
        run: where checkpoints are kept.
        device: where to train.

    Attributes:
        model: the model.
        network: what a step calls: the model in the recipe's precision, compiled if the recipe asks for it, its
            gradients averaged over all processes.
        step: updates made.
        ended: `step` when the last epoch's line was written.
        values: what that line said.
        sums: of the steps since the last line of each kind, whose means the next one says.
        best: the best evaluation so far ("step" and its value), or empty.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, run: Run, device: str = "cpu") -> None:
        self.recipe, self.run, self.device = recipe, run, torch.device(device)
        model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if ranks.count() > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.depth = depth.by_row(model)
        self.model: Any = model
        self.step, self.ended = 0, 0
        self.values: dict[str, float] = {}
        self.sums = {"epoch": no_steps(), "step": no_steps()}
        self.best: dict[str, float] = {}
        self.optimizer = create_optimizer_v2(
            model,
            recipe.optimizer,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            layer_decay=None if recipe.layer_decay == 1 else recipe.layer_decay,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        # Without its warm-up a short run would end in an average of little more than the first weights.
        self.average = ModelEmaV3(model, recipe.ema, use_warmup=True) if recipe.ema else None
        self._called: Any = torch.compile(model) if recipe.compile else model
        if ranks.count() > 1:
            self._called = DistributedDataParallel(self._called)
        self._saved, self._cost = time.monotonic(), 0.0

    @property
    def shown(self) -> Any:
        """What is evaluated and saved: the average of the weights if the recipe keeps one, else the model."""
        return self.model if self.average is None else self.average.module

    def network(self, *inputs: Tensor) -> Any:
        """Calls the model as a step does."""
        with autocast(self.device, self.recipe.precision):
            return self._called(*inputs)

    def averaging(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Returns the context of one part of a batch: only the last one's gradients go to the other processes."""
        return contextlib.nullcontext() if last or ranks.count() == 1 else self._called.no_sync()

    def set_learning_rate(self, rate: float) -> None:
        """Sets the learning rate of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def clip(self) -> Tensor:
        """Clips the gradients to the recipe's norm; returns the norm before, on the device."""
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        if self.recipe.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip, norm)
        return norm

    def move(self) -> None:
        """Moves the weights, and their average after them."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)

    def agree(self) -> None:
        """Gives every process the first one's buffers: where batch norm is not synchronised they differ."""
        ranks.spread([*self.model.buffers(), *(self.average.module.buffers() if self.average else ())])

    def due(self) -> bool:
        """Whether a checkpoint would take no more than its share of the time."""
        return time.monotonic() - self._saved >= max(SOONEST, self._cost * (1 / SHARE - 1))

    def save(self, kept: int = 2) -> None:
        """Writes a checkpoint and removes older ones.

        Args:
            kept: how many stay, this one too. The one before it is there in case this one is damaged.

        Raises:
            RunError: the disk is full or fails; the earlier checkpoints stay.
        """
        began = time.monotonic()
        about = {
            "recipe": self.recipe.to_json(),
            "step": self.step,
            "ended": self.ended,
            "values": self.values,
            "sums": self.sums,
            "best": self.best,
            "scaler": self.scaler.state_dict(),
        }
        average = {} if self.average is None else self.average.module.state_dict()
        folder = self.run.checkpoints
        folder.mkdir(exist_ok=True)
        checkpoint.save(folder / f"{self.step:09}.safetensors", self.model, self.optimizer, about, average)
        for old in checkpoints(self.run)[kept:]:
            old.unlink()
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def resume(self) -> None:
        """Goes back to the last good checkpoint, if there is any; a damaged one is named and passed over.

        Raises:
            RunError: there are checkpoints and none is good, or they are another recipe's.
        """
        chosen = ranks.first(self._last_good)
        if chosen is not None and ranks.rank():
            self._restore(chosen)

    def _last_good(self) -> Path | None:
        paths = checkpoints(self.run)
        for path in paths:
            try:
                self._restore(path)
                return path
            except checkpoint.DamageError as error:
                if path == paths[-1]:
                    raise
                message = "%s: %s; going on from the checkpoint before it"
                logging.getLogger(__name__).warning(message, error.where, error.what)
        return None

    def _restore(self, path: Path) -> None:
        recorded = checkpoint.read_about(path)["recipe"]
        if self.recipe.differences(recorded) - {"epochs"} or recorded["epochs"] > self.recipe.epochs:
            raise RunError("was left by another recipe", str(path), "choose another --out, or repeat that recipe")
        about, average = checkpoint.restore(path, self.model, self.optimizer)
        if missing := {"ended", "values", "sums"} - about.keys():
            what = f"lacks {', '.join(sorted(missing))}: an earlier version left it"
            raise RunError(what, str(path), "remove it to start anew")
        if self.average is not None:
            self.average.module.load_state_dict(average)
        self.scaler.load_state_dict(about["scaler"])
        self.step, self.ended, self.values = about["step"], about["ended"], about["values"]
        self.sums, self.best = about["sums"], about["best"]


def no_steps() -> dict[str, float]:
    """Returns the sums over no steps: losses, gradient norms, and how many there are of each."""
    return {"steps": 0, "loss": 0.0, "norms": 0, "norm": 0.0}


def checkpoints(run: Run) -> list[Path]:
    """Returns the checkpoints of a run, the newest first."""
    return sorted(run.checkpoints.glob("*.safetensors"), reverse=True)
