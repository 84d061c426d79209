"""What people see of a training: the progress line, metrics.jsonl, and TensorBoard or Weights & Biases where asked.

Every epoch's line goes to all of them: step, epoch, loss (the mean of its steps), learning_rate, the evaluation's
values; images_per_second (over all processes) and data_wait_share, both of the steps alone, without evaluation; and
seconds since the run began, earlier calls counted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seit import ranks
from seit.errors import RunError, nearest_names
from seit.files import write_bytes
from seit.progress import progress

METRICS = "metrics.jsonl"
TIMED = ("images_per_second", "data_wait_share", "seconds")
"""What of a line is another one at every call; the rest of it is the same in a run that was killed and went on."""


class Tracker(Protocol):
    """Where lines go besides the file."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Shows the values of a step."""

    def close(self) -> None:
        """Writes out what is left."""


class Log:
    """Tells of one call of `fit`; used as a context. Rank 0 alone writes.

    Args:
        folder: of the run.
        settings: the recipe, for trackers that show it.
        steps: of the whole run.
        epoch_steps: of an epoch.
        batch_size: rows of a step over all processes.
        done: steps of earlier calls that this one goes on from; what was written of later ones is taken back.
        to: names of `TRACKERS`.

    Raises:
        RunError: an unknown tracker, or one whose package is not installed.

    Attributes:
        waited: seconds of this call that steps waited for their batches.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        steps: int,
        epoch_steps: int,
        batch_size: int,
        done: int,
        to: Sequence[str] = (),
    ) -> None:
        self._folder, self._epoch_steps, self._batch_size = folder, epoch_steps, batch_size
        self._bar = progress(steps, "train", "steps", done=done)
        self._writes, self.waited = ranks.rank() == 0, 0.0
        self._before, self._shown = 0.0, ""
        self._trackers: list[Tracker] = []
        if self._writes:
            self._before = _trimmed(folder / METRICS, done)
            self._trackers = [_tracker(name, folder, settings, done) for name in to]
        self._began = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        """Begins to time the steps of an epoch."""
        self._steps, self._trained, self._waited, self._last = 0, 0.0, 0.0, time.monotonic()

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
        self._steps, self._trained, self._last = self._steps + 1, self._trained + now - self._last, now
        self._waited, self.waited = self._waited + waited, self.waited + waited
        speed = self._speed()
        self._bar.update(
            1,
            f"epoch {step / self._epoch_steps:.1f}, loss {loss:.3f}{self._shown}, "
            f"{speed['images_per_second']:.0f} images/s, {100 * speed['data_wait_share']:.1f}% waiting for data",
        )

    def epoch(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the line of an epoch that ended with `step`, after its evaluation.

        Args:
            step: steps made.
            values: loss, learning_rate, and what the evaluation found.
        """
        speed = {name: round(value, 4) for name, value in self._speed().items()}
        seconds = round(self._before + time.monotonic() - self._began, 3)
        line = {"step": step, "epoch": step / self._epoch_steps, **values, **speed, "seconds": seconds}
        self._shown = "".join(
            f", {name} {100 * values[key]:.1f}%"
            for key, name in (("top1", "top-1"), ("map", "mAP"))
            if key in values
        )
        if self._writes:
            with open(self._folder / METRICS, "a") as file:
                file.write(json.dumps(line) + "\n")
            for tracker in self._trackers:
                tracker.write(line, step)
        self._begin()

    def _speed(self) -> dict[str, float]:
        trained = max(self._trained, 1e-9)
        return {
            "images_per_second": self._steps * self._batch_size / trained,
            "data_wait_share": self._waited / trained,
        }


def _trimmed(metrics: Path, step: int) -> float:
    """Takes from the metrics what was written after the checkpoint; returns the seconds of what is left."""
    if not metrics.exists():
        return 0.0
    # A full disk may have cut the last line: what does not end is of no step that the checkpoint knows.
    whole = [json.loads(line) for line in metrics.read_text().rpartition("\n")[0].splitlines()]
    kept = [line for line in whole if line["step"] <= step]
    write_bytes(metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())
    return kept[-1]["seconds"] if kept else 0.0


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
