"""One run's folder: the names of its files, what they hold, and who may write there.

run.json                what was trained on what: recipe, data, classes, tokenizer, versions, command
metrics.jsonl           one line an epoch and one every n steps
checkpoints/            where to go on from
best/                   the classifier of the best evaluation
classifier/             the classifier of the end
tokenizer.safetensors   the data set's tokenizer
report.html, *.png      the run's page and its curves
result.json             written last: a run that has it is finished
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seit.errors import RunError
from seit.files import lock, write_json
from seit.run import metrics

SCHEMA = 1
_ABOUT, _RESULT, _METRICS, _LOCK = "run.json", "result.json", "metrics.jsonl", ".lock"
_NEEDED = ("recipe", "classes", "preprocessing")


class Run:
    """The folder of a run.

    Args:
        path: the folder, which need not exist.

    Attributes:
        checkpoints, best, classifier: folders in it.
        tokenizer, page: files in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints, self.best = self.path / "checkpoints", self.path / "best"
        self.classifier, self.tokenizer = self.path / "classifier", self.path / "tokenizer.safetensors"
        self.page = self.path / "report.html"

    def __str__(self) -> str:
        return os.fspath(self.path)

    def exists(self) -> bool:
        """Whether a training began here."""
        return (self.path / _ABOUT).exists()

    def check_free(self) -> None:
        """Refuses a folder of something else, before a run begins in it.

        Raises:
            RunError: it is a file, or holds files and no run.
        """
        if self.exists() or not self.path.exists():
            return
        if not self.path.is_dir() or any(p.suffix != ".tmp" and p.name != _LOCK for p in self.path.iterdir()):
            raise RunError("exists and is not a run", str(self), "choose another --out")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder and keeps every other training away from it for as long as the block runs.

        Raises:
            BusyError: another process trains it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock(self.path / _LOCK):
            yield

    def begin(self, about: Mapping[str, Any]) -> None:
        """Writes down what the run is, unless that stands there already."""
        if not self.exists():
            write_json(self.path / _ABOUT, {"schema": SCHEMA, **about})

    def extend(self, recipe: Mapping[str, Any], extension: Mapping[str, Any]) -> None:
        """Lets the run go on by a recipe of more epochs; it is no longer finished.

        Args:
            recipe: the new one, as JSON values.
            extension: added to run.json's list `extended`: what changed, when and by which command.
        """
        about = self.about()
        (self.path / _RESULT).unlink(missing_ok=True)  # first: what is cut off here is an unfinished run, not a lie
        extended = [*about.get("extended", []), dict(extension)]
        write_json(self.path / _ABOUT, about | {"recipe": dict(recipe), "extended": extended})

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes the result, which marks the run as finished."""
        write_json(self.path / _RESULT, result)

    def about(self) -> dict[str, Any]:
        """Returns what run.json holds.

        Raises:
            RunError: there is none, it is damaged, or a later version wrote it.
        """
        path = self.path / _ABOUT
        if not path.exists():
            raise RunError("is not a run", str(self), "give the folder that `seit train --out` wrote")
        about = _read_object(path)
        if about.get("schema", SCHEMA) > SCHEMA:
            raise RunError(
                f"has schema {about['schema']}, and this version reads {SCHEMA}", str(path), "upgrade seit"
            )
        if missing := [key for key in _NEEDED if key not in about]:
            raise RunError(f"lacks {', '.join(missing)}", str(path), "train again")
        return about

    def result(self) -> dict[str, Any] | None:
        """Returns what result.json holds; None if the run is not finished.

        Raises:
            RunError: it is damaged.
        """
        path = self.path / _RESULT
        return _read_object(path) if path.exists() else None

    def finished(self) -> dict[str, Any]:
        """Returns what run.json holds, of a finished run.

        Raises:
            RunError: there is no run here, or it is not finished or damaged.
        """
        about = self.about()
        if not (self.path / _RESULT).exists():
            raise RunError("is not finished", str(self), "run the same `seit train` again: it goes on")
        return about

    def lines(self, kind: str = "epoch") -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl of one kind, "epoch" or "step", in order.

        Raises:
            RunError: a line is damaged.
        """
        return [line for line in metrics.read_lines(self.path / _METRICS) if line["kind"] == kind]

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        metrics.append_line(self.path / _METRICS, line)

    def keep_lines(self, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        """Removes the lines of metrics.jsonl that `keep` refuses; returns the others."""
        return metrics.keep_lines(self.path / _METRICS, keep)


def runs_below(folder: str | os.PathLike[str]) -> list[Run]:
    """Returns the run that a folder is, or all runs below it, by name.

    Raises:
        RunError: there is none.
    """
    folder = Path(folder)
    if Run(folder).exists():
        return [Run(folder)]
    runs = [Run(path.parent) for path in sorted(folder.rglob(_ABOUT))]
    if not runs:
        raise RunError("holds no run", str(folder), "give folders that `seit train --out` wrote, or one above them")
    return runs


def _read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object that a file holds."""
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (ValueError, OSError) as error:
        raise RunError(f"cannot be read ({error})", str(path), "remove the run and train again") from error
    return value
