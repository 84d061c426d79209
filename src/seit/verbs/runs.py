"""`seit runs`: what several runs were and how they ended, side by side; and the page of one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seit.errors import RunError
from seit.models.pipeline import RUN, read_json, read_run
from seit.training.logs import METRICS

RESULT, PAGE = "result.json", "report.html"


def runs(folders: Sequence[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Compares runs, finished or not.

    Args:
        folders: runs, or folders with runs anywhere below them.

    Returns:
        One dict a run, in the order given: run, recipe (its name), trunk, data, bytes (of the data, None where they
        were not counted), epochs (made), epochs_planned, steps, finished, seconds (of training, evaluation too),
        images_per_second (median of its epochs), top1 and best_top1 (or map and best_map; None before the first
        evaluation), start (the run whose weights it began with, or None), and settings: the recipe's fields that
        differ between these runs of the same recipe.

    Raises:
        RunError: no runs there, or one is damaged.
    """
    found = [path for folder in folders for path in _runs_below(Path(folder))]
    abouts = [read_run(path) for path in found]
    results = []
    for path, about in zip(found, abouts, strict=True):
        twins = [one["recipe"] for one in abouts if one["recipe_name"] == about["recipe_name"]]
        differing = [
            name for name in sorted(about["recipe"]) if any(one.get(name) != twins[0].get(name) for one in twins)
        ]
        results.append(_described(path, about) | {"settings": {name: about["recipe"][name] for name in differing}})
    return results


def _runs_below(folder: Path) -> list[Path]:
    found = [folder] if (folder / RUN).exists() else sorted(path.parent for path in folder.rglob(RUN))
    if not found:
        raise RunError("holds no run", str(folder), "give folders that `seit train --out` wrote, or one above them")
    return found


def _described(run: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    lines = read_metrics(run)
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
    from seit.report.run import RunResult, run_curves, run_page  # with matplotlib, which no start waits for

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
        augment=about["augment"],
        frozen=about["frozen"],
        machine=dict(machine) | about["versions"],
        command=about["command"],
        found=found,
        classes=about["classes"],
    )
    run_page(shown, run / PAGE)
