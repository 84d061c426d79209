"""`seit runs`: what several runs were and how they ended, side by side; and the page of one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seit.errors import RunError
from seit.models.pipeline import RUN, read_json, read_run
from seit.report.run import RunResult, run_curves, run_page
from seit.training.logs import METRICS

RESULT, PAGE = "result.json", "report.html"
_OWN_COLUMNS = ("trunk", "epochs", "input")


def runs(folders: Sequence[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Compares runs, finished or not.

    Args:
        folders: runs, or folders with runs anywhere below them.

    Returns:
        One dict a run, in the order given: run, recipe (its name), trunk, data, bytes (of the data, None where they
        were not counted), epochs (made), epochs_planned, steps, finished, seconds (of training, evaluation too),
        images_per_second (median of its epochs), top1 and best_top1 (or map and best_map; None before the first
        evaluation), start (the run whose weights it began with, or None), and settings: what differs between these
        runs of their recipes, by name.

    Raises:
        RunError: no runs there, or one is damaged.
    """
    found = [path for folder in folders for path in _runs_below(Path(folder))]
    recipes = [read_run(path)["recipe"] for path in found]
    names = {name for recipe in recipes for name in recipe} - {*_OWN_COLUMNS}
    differing = sorted(name for name in names if len({json.dumps(r.get(name)) for r in recipes}) > 1)
    return [
        _described(path) | {"settings": {name: recipe.get(name) for name in differing}}
        for path, recipe in zip(found, recipes, strict=True)
    ]


def _runs_below(folder: Path) -> list[Path]:
    found = [folder] if (folder / RUN).exists() else sorted(path.parent for path in folder.rglob(RUN))
    if not found:
        raise RunError("holds no run", str(folder), "give folders that `seit train --out` wrote, or one above them")
    return found


def _described(run: Path) -> dict[str, Any]:
    about, lines = read_run(run), read_metrics(run)
    result = read_json(run / RESULT) if (run / RESULT).exists() else {}
    last: Mapping[str, Any] = lines[-1] if lines else {}
    measure = "map" if "map" in last else "top1"
    values = [line[measure] for line in lines if measure in line]
    speeds = sorted(line["images_per_second"] for line in lines)
    return {
        "run": os.fspath(run),
        "recipe": about["recipe_name"],
        "trunk": about["recipe"]["trunk"],
        "data": about["data"],
        "bytes": about["data_bytes"],
        "start": (about.get("from") or {}).get("run"),
        "epochs": last.get("epoch", 0.0),
        "epochs_planned": about["recipe"]["epochs"],
        "steps": last.get("step", 0),
        "finished": bool(result),
        "seconds": last.get("seconds", 0.0),
        "images_per_second": speeds[len(speeds) // 2] if speeds else None,
        measure: values[-1] if values else None,
        f"best_{measure}": max(values, default=None),
    }


def read_metrics(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the whole lines of a run's metrics.jsonl; none where there is no such file.

    Raises:
        RunError: a line is damaged.
    """
    path = Path(run) / METRICS
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    try:
        return [json.loads(line) for line in whole]
    except ValueError as error:
        raise RunError(f"cannot be read ({error})", str(path), "take the damaged line out") from error


def write_report(
    run: Path, result: Mapping[str, Any], found: Mapping[str, Any], machine: Mapping[str, str]
) -> None:
    """Writes a run's page, and its curves as PNG beside it.

    Args:
        run: its folder, with run.json and metrics.jsonl.
        result: what result.json will hold.
        found: the last evaluation, whole.
        machine: what it was trained on.
    """
    about, lines = read_run(run), read_metrics(run)
    for name, drawing in run_curves(lines).items():
        drawing.write_png(run / f"{name}.png")
    shown = RunResult(
        name=os.fspath(run),
        recipe_name=about["recipe_name"],
        data=about["data"],
        data_bytes=about["data_bytes"],
        rows=about["rows"]["train"],
        held_out_rows=result["held_out_rows"],
        lines=lines,
        result=result,
        recipe=about["recipe"],
        machine=dict(machine) | about["versions"],
        command=about["command"],
        found=found,
        classes=about["classes"],
    )
    run_page(shown, run / PAGE)
