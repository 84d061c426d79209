"""The loop: what a feed gives, an objective makes a step of; along the way it is measured, logged and kept.

A step depends on (recipe, feed, step number) and the weights before it alone: order, augmentation and stochastic
depth are functions of (seed, epoch, position in the epoch). So a run that was interrupted goes on from its
checkpoint to the same final weights, and a batch that is split, over processes or into parts that fit a device,
gives the same update up to rounding.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from seit import ranks
from seit.evaluation import Evaluation
from seit.loading import Feed
from seit.objectives import Objective
from seit.run import Run
from seit.training.logs import Log
from seit.training.recipe import Recipe
from seit.training.schedule import Plan
from seit.training.state import State, no_steps
from seit.training.step import NotFinite, Outcome, explained, update
from seit.training.stop import Stop


@dataclass(frozen=True)
class Training:
    """What `fit` trains, with what, and how it is measured; `setup.py` builds that of a recipe.

    Attributes:
        recipe: optimizer, schedule, precision, seed; the rest of it lies in what follows.
        model: fresh weights, drawn after `torch.manual_seed(recipe.seed)`, or those of another run. Parameters
            that want no gradient stay as they are.
        objective: what is minimised.
        feed: where batches come from.
        evaluations: what measures the model along the way; the first with a score says which weights are the best.
    """

    recipe: Recipe
    model: nn.Module
    objective: Objective
    feed: Feed
    evaluations: Sequence[Evaluation] = ()

    @property
    def plan(self) -> Plan:
        """Steps and learning rates."""
        return Plan.of(self.recipe, self.feed.batch_size, self.feed.epoch_steps)


def fit(training: Training, run: Run, device: str = "cpu", log_to: Sequence[str] = ()) -> dict[str, float]:
    """Trains a model in place, or goes on from the last checkpoint of its run.

    Called by every process of a run that `torchrun` started; rank 0 alone writes.

    Args:
        training: what to train.
        run: where checkpoints, metrics and the best weights lie. Its folder exists.
        device: where to train.
        log_to: names of `logs.TRACKERS` that get every line of the metrics too.

    Returns:
        The last evaluation, with `best_<name>` and `best_step`; `loss`, the last epoch's mean; `train_seconds`,
        `train_cpu_seconds` and `data_wait_share` of this call.

    Raises:
        RunError: a loss or gradient is not finite, the disk is full, or the checkpoints are of another run.
        KeyboardInterrupt: the process was asked to end (see `stop.py`); a checkpoint holds every step it made.
    """
    began, cpu = time.monotonic(), time.process_time()
    state = State(training.model, training.recipe, run, device)
    state.resume()
    with _log_of(training, state, log_to) as log, Stop() as stop:
        loop = _Loop(training, state, log, stop)
        try:
            loop.run()
        except NotFinite as error:
            raise explained(error.outcome) from None
    if state.average is not None:
        training.model.load_state_dict(state.shown.state_dict())
    _warn(state.values["loss"], training.objective.guessing)
    seconds = time.monotonic() - began
    return {
        **{name: value for name, value in state.values.items() if name not in ("learning_rate", "gradient_norm")},
        **{f"best_{name}": value for name, value in state.best.items()},
        "train_seconds": seconds,
        "train_cpu_seconds": time.process_time() - cpu,
        "data_wait_share": log.waited / seconds if seconds else 0.0,
    }


class _Loop:
    """One call of `fit` between its first and its last step.

    Args:
        training: what is trained.
        state: where it stands.
        log: what is told.
        stop: whether the process was asked to end.
    """

    def __init__(self, training: Training, state: State, log: Log, stop: Stop) -> None:
        self._training, self._plan, self._state, self._log, self._stop = training, training.plan, state, log, stop
        self._batches = training.feed.batches(state.step)
        # On a GPU a step is read when the next is on its way: the processor never waits for the step it is making.
        self._late = 0 if state.device.type == "cpu" else 1
        self._unread: list[tuple[Outcome, float]] = []
        self._stop_at: float = math.inf

    def run(self) -> None:
        """Makes the steps that are left."""
        state, last = self._state, self._plan.steps
        if state.ended == last:  # finished before, but for its report, which wants the details
            self._evaluate()
        while state.ended < last:
            if self._plan.ends_epoch(state.step) and state.ended < state.step:
                self._end_epoch()
            else:
                self._make_step()
            if ranks.rank() == 0 and state.due() and state.ended < last:
                self._read()
                self._save()
        self._save(kept=1)  # the last one stays: from it the run can go on for more epochs

    def _make_step(self) -> None:
        state, asked = self._state, time.monotonic()
        batch = next(self._batches)
        waited = time.monotonic() - asked
        rate = self._plan.learning_rate(state.step)
        outcome = update(state, self._training.objective, batch, rate, self._stop)
        self._unread.append((outcome, waited))
        self._read(self._late)
        if state.step % state.recipe.log_every == 0:
            self._read()
            self._log.line("step", state.step, self._means("step"))
        if state.step >= self._stop_at:
            self._read()
            ranks.first(state.save)  # the others wait: whoever started them would end the first one with them
            raise KeyboardInterrupt

    def _read(self, left: int = 0) -> None:
        """Reads the steps that were made, all but the last `left`."""
        while len(self._unread) > left:
            outcome, waited = self._unread.pop(0)
            loss, norm, stops = outcome.read()
            for sums in self._state.sums.values():
                sums["steps"] += 1
                sums["loss"] += loss
                if math.isfinite(norm):  # float16 may overflow now and then
                    sums["norms"] += 1
                    sums["norm"] += norm
            self._log.step(outcome.step + 1, loss, waited)
            if stops:  # at the same step on every process, of which the first may read a step earlier
                self._stop_at = min(self._stop_at, outcome.step + 1 + self._late)

    def _means(self, kind: str) -> dict[str, float]:
        """Returns what a line says of the steps since the last one of its kind, and begins a new one."""
        sums, self._state.sums[kind] = self._state.sums[kind], no_steps()
        values = {
            "loss": sums["loss"] / sums["steps"],
            "learning_rate": self._plan.learning_rate(self._state.step - 1),
        }
        return values | ({"gradient_norm": sums["norm"] / sums["norms"]} if sums["norms"] else {})

    def _end_epoch(self) -> None:
        """Evaluates what is due and writes the epoch's line."""
        state = self._state
        self._read()
        evaluated = self._evaluate()
        state.values = self._means("epoch") | evaluated
        state.ended = state.step
        self._log.line("epoch", state.step, state.values)
        self._log.rest()

    def _evaluate(self) -> dict[str, float]:
        """Returns what the evaluations that are due measure; keeps the weights if no earlier ones were better."""
        state, evaluations = self._state, self._training.evaluations
        epoch, ends = state.step // self._plan.epoch_steps, state.step == self._plan.steps
        state.agree()
        state.shown.eval()
        values: dict[str, float] = {}
        try:
            with self._stop.at_once():
                for evaluation in evaluations:
                    if ends or epoch % evaluation.every == 0:
                        values.update(evaluation(state.shown))
        except KeyboardInterrupt:
            self._save()
            raise
        score = next((one.score for one in evaluations if one.score in values), None)
        if score and values[score] > state.best.get(score, -math.inf):
            state.best = {score: values[score], "step": state.step}
            if ranks.rank() == 0:
                state.shown.save_pretrained(state.run.best)
        return values

    def _save(self, kept: int = 2) -> None:
        if ranks.rank() == 0:
            self._state.save(kept)
            self._log.rest()


def _log_of(training: Training, state: State, to: Sequence[str]) -> Log:
    plan, rows = training.plan, training.feed.batch_size
    settings = training.recipe.to_json()
    return Log(state.run, settings, plan.steps, plan.epoch_steps, rows, state.step, state.ended, to)


def _warn(loss: float, guessing: float | None) -> None:
    """Says so if a run ended no better than by guessing."""
    if ranks.rank() == 0 and guessing is not None and loss > guessing:
        logging.getLogger(__name__).warning(
            "the loss ended at %.2f, above the %.2f of guessing; lower the learning rate", loss, guessing
        )
