"""One step: the parts of a batch go through the network one by one, their gradients are added up, the weights move.

The gradient is that of the mean loss over the batch of all processes, however it is split, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seit import ranks
from seit.augment import Draws
from seit.errors import RunError
from seit.loading import Batch
from seit.objectives import Objective
from seit.training import depth
from seit.training.state import State
from seit.training.stop import Stop

_NAMED = 8
"""Most rows that an error names."""


def update(state: State, objective: Objective, batch: Batch, rate: float, stop: Stop) -> Outcome:
    """Makes one update of the weights.

    Args:
        state: changed in place.
        objective: what is minimised.
        batch: this process's part of the batch.
        rate: learning rate.
        stop: whether this process was asked to end, which the others learn with the loss.

    Returns:
        What became of it, to be read when there is time to wait for the device.

    Raises:
        NotFinite: the loss or the gradient is not finite. On a CPU no weight has moved; elsewhere, where waiting
            for the device is expensive, `Outcome.read` raises it after the update.
    """
    objective.check(batch)
    state.model.train()
    state.set_learning_rate(rate)
    state.optimizer.zero_grad(set_to_none=True)
    losses = []
    for part, last in parts_of(len(batch.rows), batch.size, state.recipe.micro_batch):
        inputs = _moved(batch.inputs[part], state.device)
        labels = None if batch.labels is None else _moved(batch.labels[part], state.device)
        draws = Draws(state.recipe.seed, batch.epoch, batch.positions[part], batch.size, state.device)
        depth.draw(state.depth, draws)
        with state.averaging(last):
            losses.append(objective.losses(state.network, inputs, labels, draws))
            # Gradients are averaged over the processes: times their number, the sum over rows is a mean over all.
            state.scaler.scale(losses[-1].sum() * (ranks.count() / batch.size)).backward()
    outcome = Outcome.of(state, batch, torch.cat(losses).detach(), state.clip(), stop)
    if state.device.type == "cpu":
        outcome.read()
    state.move()
    return outcome


def parts_of(rows: int, batch_size: int, most: int) -> Iterator[tuple[slice, bool]]:
    """Yields the parts of one process's share of a batch, and whether each is the last.

    Parts are whole pairs, because pairs are mixed, and every process has as many parts as the one with the largest
    share: batch norm that is synchronised would wait for ever for a process that has one part fewer.

    Args:
        rows: of the share.
        batch_size: rows of the batch of all processes.
        most: most rows of a part, 0 for all. One pair more where shares differ and a part has one pair.
    """
    pairs, processes = (batch_size + 1) // 2, ranks.count()
    largest, smallest = -(-pairs // processes), pairs // processes
    count = min(-(-2 * largest // most), smallest) if most else 1
    bounds = np.linspace(0, (rows + 1) // 2, count + 1).astype(int) * 2
    for number in range(count):
        yield slice(int(bounds[number]), min(int(bounds[number + 1]), rows)), number == count - 1


def _moved(values: np.ndarray, device: torch.device) -> Tensor:
    """Returns an array on the device; the processor does not wait for it to arrive."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class NotFinite(ArithmeticError):
    """A loss or a gradient is not finite.

    Args:
        outcome: the step's, from which `explained` finds out more.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("a loss or a gradient is not finite")
        self.outcome = outcome


@dataclass
class Outcome:
    """What a step gave, on the device until it is read.

    Attributes:
        step: updates made before this one.
        batch: this process's part.
        losses: float32 [b], each row's.
        numbers: float32 [3]: the mean loss over the batch of all processes, how many were asked to stop, and the
            gradient's norm. From a GPU they are on their way to the processor.
        scaled: whether a gradient out of range only lowers the loss scale (float16).
    """

    step: int
    batch: Batch
    losses: Tensor
    numbers: Tensor
    scaled: bool
    _arrived: torch.cuda.Event | None = None

    @classmethod
    def of(cls, state: State, batch: Batch, losses: Tensor, norm: Tensor, stop: Stop) -> Outcome:
        """Adds the losses of all processes up and sends the numbers on their way."""
        mine = torch.stack([losses.float().sum() / batch.size, torch.full_like(norm, float(stop.asked))])
        ranks.add_up(mine)
        numbers = torch.cat([mine, norm.detach().float()[None]])
        scaled = state.scaler.is_enabled() and state.scaler.get_scale() >= 1
        outcome = cls(state.step, batch, losses, numbers, scaled)
        if state.device.type == "cuda":
            outcome.numbers = torch.empty(3, pin_memory=True).copy_(numbers, non_blocking=True)
            outcome._arrived = torch.cuda.Event()
            outcome._arrived.record()
        return outcome

    def read(self) -> tuple[float, float, bool]:
        """Waits for the device; returns the mean loss, the gradient's norm and whether a process was asked to stop.

        Raises:
            NotFinite: the loss or the gradient is not finite.
        """
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, stops, norm = self.numbers.tolist()
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaled):
            raise NotFinite(self)
        return loss, norm, stops > 0


def explained(outcome: Outcome) -> RunError:
    """Returns the error that names the rows of a step whose loss or gradient was not finite."""
    loss, _, norm = outcome.numbers.tolist()
    what = f"the gradient's norm became {norm}" if math.isfinite(loss) else f"the loss became {loss}"
    batch, losses = outcome.batch, outcome.losses.float().cpu().numpy()
    # Batch norm spreads what one row brings in over all of them, so the inputs are asked first.
    bad = ~np.isfinite(batch.inputs).reshape(len(batch.rows), -1).all(1)
    if not bad.any():
        bad = ~np.isfinite(losses)
    guilty = batch.rows[bad] if bad.any() else batch.rows
    named = ", ".join(map(str, guilty[:_NAMED])) + (", ..." if len(guilty) > _NAMED else "")
    return RunError(
        f"{what} at step {outcome.step} (epoch {batch.epoch}, {len(guilty)} of {len(batch.rows)} rows: {named})",
        cure="look at those rows, lower the learning rate, or set precision to float32",
    )
