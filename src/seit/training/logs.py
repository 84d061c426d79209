"""What people see of a training: the progress line, metrics.jsonl, and TensorBoard or Weights & Biases where asked.

Each line has kind ("epoch" or "step"), step, epoch, loss (the mean of the steps since the last line of its kind),
learning_rate, gradient_norm, images_per_second (over all processes) and data_wait_share, both of the steps alone,
without evaluation and checkpoints, memory_mb (the most that was taken so far, of the GPU's memory or else of this
process's), and seconds since the run began, earlier calls counted. An epoch's line holds what was evaluated, too.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from seit import ranks
from seit.errors import RunError, nearest_names
from seit.progress import progress
from seit.run import Run


class Tracker(Protocol):
    """Where lines go besides the file."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Shows the values of a step."""

    def close(self) -> None:
        """Writes out what is left."""


class Log:
    """Tells of one call of `fit`; used as a context. Rank 0 alone writes.

    Args:
        run: whose metrics it writes.
        settings: the recipe, for trackers that show it.
        steps: of the whole run.
        epoch_steps: of an epoch.
        batch_size: rows of a step over all processes.
        done: steps of earlier calls that this one goes on from; lines of later ones are removed.
        ended: their step at the end of their last epoch, likewise.
        to: names of `TRACKERS`.

    Raises:
        RunError: an unknown tracker, or one whose package is not installed.

    Attributes:
        waited: seconds of this call that steps waited for their batches.
    """

    def __init__(
        self,
        run: Run,
        settings: Mapping[str, Any],
        steps: int,
        epoch_steps: int,
        batch_size: int,
        done: int = 0,
        ended: int = 0,
        to: Sequence[str] = (),
    ) -> None:
        self._run, self._epoch_steps, self._batch_size = run, epoch_steps, batch_size
        self._bar = progress(steps, "train", "steps", done=done)
        self._writes, self.waited = ranks.rank() == 0, 0.0
        self._before, self._measured = 0.0, ""
        self._trackers: list[Tracker] = []
        if self._writes:
            last = {"step": done, "epoch": ended}
            kept = run.keep_lines(lambda line: line["step"] <= last[line["kind"]])
            self._before = kept[-1]["seconds"] if kept else 0.0
            self._trackers = [_tracker(name, run.path, settings, done) for name in to]
        self._began = self._last = time.monotonic()
        self._speeds = {"step": _Speed(), "epoch": _Speed()}

    def __enter__(self) -> Log:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)
        for tracker in self._trackers:
            tracker.close()

    def step(self, step: int, loss: float, waited: float) -> None:
        """Counts a step and shows it.

        Args:
            step: steps made, this one too.
            loss: its loss.
            waited: seconds that it waited for its batch.
        """
        now = time.monotonic()
        for speed in self._speeds.values():
            speed.count(now - self._last, waited)
        self._last = now
        self.waited += waited
        speed = self._speeds["epoch"]
        self._bar.update(
            1,
            f"epoch {step / self._epoch_steps:.1f}, loss {loss:.3f}{self._measured}, "
            f"{speed.rows(self._batch_size):.0f} images/s, {100 * speed.wait_share():.1f}% waiting for data",
        )

    def rest(self) -> None:
        """Leaves the time since the last step out of the speed: an evaluation or a checkpoint took it."""
        self._last = time.monotonic()

    def line(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Writes a line.

        Args:
            kind: "epoch" or "step".
            step: steps made.
            values: what it says besides step, epoch, speed, memory and time.
        """
        speed, self._speeds[kind] = self._speeds[kind], _Speed()
        line = {
            "step": step,
            "epoch": step / self._epoch_steps,
            **values,
            "images_per_second": round(speed.rows(self._batch_size), 4),
            "data_wait_share": round(speed.wait_share(), 4),
            "memory_mb": round(_memory_mb(), 1),
            "seconds": round(self._before + time.monotonic() - self._began, 3),
        }
        measured = {name: f", {word} {100 * values[name]:.1f}%" for name, word in _SHOWN if name in values}
        self._measured = "".join(measured.values()) or self._measured
        if self._writes:
            self._run.append({"kind": kind, **line})
            prefix = "step/" if kind == "step" else ""  # another mean of the same name, maybe at the same step
            for tracker in self._trackers:
                tracker.write({prefix + name: value for name, value in line.items()}, step)


_SHOWN = (("top1", "top-1"), ("map", "mAP"))


class _Speed:
    """Steps, and the seconds that they took and waited."""

    def __init__(self) -> None:
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0

    def count(self, seconds: float, waited: float) -> None:
        self.steps, self.seconds, self.waited = self.steps + 1, self.seconds + seconds, self.waited + waited

    def rows(self, batch_size: int) -> float:
        return self.steps * batch_size / max(self.seconds, 1e-9)

    def wait_share(self) -> float:
        return self.waited / max(self.seconds, 1e-9)


def _memory_mb() -> float:
    """Returns the most memory that was taken so far, MB: of the GPU, else of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class _TensorBoard:
    """Scalars as event files in the run's folder `tensorboard`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Readers leave out what an earlier call had written of later steps.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    """A run of the project `seit`; a resumed training goes on in it. `WANDB_MODE=offline` keeps it on the disk."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], done: int) -> None:
        import wandb

        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project="seit", name=folder.name, id=name, resume="allow", config=dict(settings), dir=str(folder)
        )

    def write(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WandB,
}


def _tracker(name: str, folder: Path, settings: Mapping[str, Any], done: int) -> Tracker:
    if name not in TRACKERS:
        raise RunError(f"there is no tracker {name!r}", "--log", nearest_names(name, TRACKERS))
    try:
        return TRACKERS[name](folder, settings, done)
    except ImportError as error:
        raise RunError(f"needs a package ({error})", f"--log {name}", f"pip install 'seit[{name}]'") from error
