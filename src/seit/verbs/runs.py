"""`seit runs`: what several runs were and how they ended, side by side; and the page of one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from seit.run import Run, runs_below


def runs(folders: Sequence[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Compares runs, finished or not.

    Args:
        folders: runs, or folders with runs anywhere below them.

    Returns:
        One dict a run, in the order given: run, recipe (its name), trunk, data, bytes (of the data, None where they
        were not counted), epochs (made), epochs_planned, epochs_extended (how many it was begun with, before each
        extension), steps, finished, seconds (of training, evaluation too), cpu_seconds (processor time of the call
        that finished it, or None), images_per_second (median of its epochs), top1 and best_top1 (or map and
        best_map; None before the first evaluation), start (the run whose weights it began with, or None), and
        settings: the recipe's fields that differ between these runs of the same recipe.

    Raises:
        RunError: no runs there, or one is damaged.
    """
    found = [run for folder in folders for run in runs_below(folder)]
    abouts = [run.about() for run in found]
    rows = []
    for run, about in zip(found, abouts, strict=True):
        twins = [one["recipe"] for one in abouts if one["recipe_name"] == about["recipe_name"]]
        differing = [
            name for name in sorted(about["recipe"]) if any(one.get(name) != twins[0].get(name) for one in twins)
        ]
        rows.append(_row(run, about) | {"settings": {name: about["recipe"][name] for name in differing}})
    return rows


def _row(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    lines, result = run.lines(), run.result()
    last: Mapping[str, Any] = lines[-1] if lines else {}
    measure = "map" if any("map" in line for line in lines) else "top1"
    values = [line[measure] for line in lines if measure in line]
    speeds = sorted(line["images_per_second"] for line in lines)
    return {
        "run": str(run),
        "recipe": about["recipe_name"],
        "trunk": about["recipe"]["trunk"],
        "data": about["data"],
        "bytes": about["data_bytes"],
        "start": (about.get("from") or {}).get("run"),
        "epochs": last.get("epoch", 0.0),
        "epochs_planned": about["recipe"]["epochs"],
        "epochs_extended": [one["epochs"][0] for one in about.get("extended", [])],
        "steps": last.get("step", 0),
        "finished": result is not None,
        "seconds": last.get("seconds", 0.0),
        "cpu_seconds": (result or {}).get("train_cpu_seconds"),
        "images_per_second": speeds[len(speeds) // 2] if speeds else None,
        measure: values[-1] if values else None,
        f"best_{measure}": max(values, default=None),
    }


def write_report(
    run: Run, result: Mapping[str, Any], details: Mapping[str, Any], machine: Mapping[str, str]
) -> None:
    """Writes a run's page, and its curves as PNG beside it.

    Args:
        run: begun, and trained.
        result: what result.json will hold.
        details: the last evaluation, whole.
        machine: what it was trained on.
    """
    from seit.report.run import RunResult, run_curves, run_page  # with matplotlib, which no start waits for

    about, lines = run.about(), run.lines()
    for name, drawing in run_curves(lines).items():
        drawing.write_png(run.path / f"{name}.png")
    page = RunResult(
        name=str(run),
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
        found=details,
        classes=about["classes"],
    )
    run_page(page, run.page)
