"""Everything of a training that changes from step to step, and how it is kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from seit import checkpoint, ranks
from seit.errors import RunError
from seit.models import Classifier
from seit.training import depth
from seit.training.recipe import Recipe

CHECKPOINTS = "checkpoints"
_KEPT = 2


class State:
    """Weights, their average, the optimizer's moments, the loss scale and the step.

    Args:
        model: a fresh classifier on its device; its layers of stochastic depth are replaced.
        recipe: optimizer, precision and average.
        folder: of the run.

    Attributes:
        model: the classifier.
        network: what a step calls: the classifier, compiled if the recipe asks for it, its gradients averaged over
            all processes.
        step: updates made.
        losses: sum over the steps of the epoch so far.
        best: the best evaluation so far ("step" and its values), or empty.
    """

    def __init__(self, model: Classifier, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.device = next(model.parameters()).device
        if ranks.count() > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.depth = depth.by_row(model)
        self.model, self.step, self.losses, self.best = model, 0, 0.0, dict[str, float]()
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
        self.network: Any = torch.compile(model) if recipe.compile else model
        if ranks.count() > 1:
            self.network = DistributedDataParallel(self.network)

    @property
    def shown(self) -> Classifier:
        """What is evaluated and saved: the average of the weights if the recipe keeps one, else the classifier."""
        return self.model if self.average is None else self.average.module

    def save(self) -> None:
        """Writes a checkpoint and keeps the one before it.

        Raises:
            RunError: the disk is full or fails; the earlier checkpoints stay.
        """
        about = {
            "recipe": self.recipe.to_json(),
            "step": self.step,
            "losses": self.losses,
            "best": self.best,
            "scaler": self.scaler.state_dict(),
        }
        average = {} if self.average is None else self.average.module.state_dict()
        folder = self.folder / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        checkpoint.save(folder / f"{self.step:09}.safetensors", self.model, self.optimizer, about, average)
        for old in checkpoints(self.folder)[_KEPT:]:
            old.unlink()

    def resume(self) -> None:
        """Goes back to the last good checkpoint, if there is any; a damaged one is said and passed over.

        Raises:
            RunError: there are checkpoints and none is good, or they are another recipe's.
        """
        chosen = ranks.first(self._last_good)
        if chosen is not None and ranks.rank():
            self._restore(chosen)

    def _last_good(self) -> Path | None:
        found = checkpoints(self.folder)
        for path in found:
            try:
                self._restore(path)
                return path
            except checkpoint.DamageError as error:
                if path == found[-1]:
                    raise
                logging.getLogger(__name__).warning("%s; going on from the checkpoint before it", error)
        return None

    def _restore(self, path: Path) -> None:
        about, average = checkpoint.restore(path, self.model, self.optimizer)
        if about["recipe"] != self.recipe.to_json():
            raise RunError("was left by another recipe", str(path), "choose another --out, or repeat that recipe")
        if self.average is not None:
            self.average.module.load_state_dict(average)
        self.scaler.load_state_dict(about["scaler"])
        self.step, self.losses, self.best = about["step"], about["losses"], about["best"]


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run, the newest first."""
    return sorted((folder / CHECKPOINTS).glob("*.safetensors"), reverse=True)
