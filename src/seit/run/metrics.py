"""The lines of metrics.jsonl.

Each is a JSON object with `kind`: "epoch" (loss, learning rate and what the evaluation measured) or "step" (every n
steps: loss, learning rate, gradient norm). Lines of versions that wrote none are lines of epochs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seit.errors import RunError
from seit.files import write_bytes

TIMED = ("images_per_second", "data_wait_share", "seconds", "memory_mb")
"""What a clock or the machine says. All else is equal in a run that was interrupted and went on."""


def untimed(line: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a line without what differs from call to call, for comparing runs."""
    return {name: value for name, value in line.items() if name not in TIMED}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a metrics file, in order; none where there is no such file.

    A full disk or a kill may have cut the last line, which is left out.

    Raises:
        RunError: a line is damaged.
    """
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    try:
        return [{"kind": "epoch"} | json.loads(line) for line in whole]
    except (TypeError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", str(path), "remove the damaged line") from error


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Writes one more line."""
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def keep_lines(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """Removes the lines that `keep` refuses; returns the others."""
    kept = [line for line in read_lines(path) if keep(line)]
    if path.exists():
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
    return kept
