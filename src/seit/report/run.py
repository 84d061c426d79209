"""A training run's page and curves, as functions of plain data: what was measured, how, and on what."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seit.report import formats
from seit.report.figures import Axis, Drawing, Line, confusion, curves
from seit.report.page import Column, Headline, Page

_NAMES = {"top1": "top-1", "top5": "top-5", "map": "mean average precision"}
_MOST_ROWS = 50  # classes of a table; of more, the worst
_MOST_DRAWN = 200  # classes of a drawn confusion matrix


@dataclass(frozen=True)
class RunResult:
    """What a run's page shows.

    Attributes:
        name: the run's folder.
        recipe_name: of its recipe.
        data: what it was trained on.
        data_bytes: of all of it, or None where nobody counted them.
        rows: training rows.
        held_out_rows: rows it was measured on.
        lines: the lines of metrics.jsonl.
        result: what result.json holds.
        recipe: field -> value.
        augment: the augmentations that were drawn anew in every epoch, in order.
        frozen: those that are in the data set for good, "none" where there are none.
        machine: processor, device, versions.
        command: that made it.
        found: what `seit.evaluation.accuracy` returned for the held-out rows at the end, or empty.
        classes: names, in the order of the confusion matrix.
    """

    name: str
    recipe_name: str
    data: str
    data_bytes: int | None
    rows: int
    held_out_rows: int
    lines: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any]
    recipe: Mapping[str, Any]
    augment: str
    frozen: str
    machine: Mapping[str, str]
    command: str
    found: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()


def run_page(run: RunResult, path: str | os.PathLike[str]) -> Path:
    """Writes the page of a run, one self-contained HTML file.

    Args:
        run: what was measured.
        path: the file.

    Returns:
        The path.
    """
    page = Page(
        f"Run {Path(run.name).name}",
        f"`{run.recipe['trunk']}` with {formats.number(run.result['parameters'])} weights, trained by the recipe "
        f"`{run.recipe_name}` on {formats.number(run.rows)} rows of `{run.data}`.",
        "Written by `seit train`. One file, no script, no network: it can be kept or passed on as it is.",
    )
    _headlines(page, run)
    drawn = run_curves(run.lines)
    if drawn:
        page.section("Along the way", "One point an epoch.")
        for caption, drawing in drawn.items():
            page.figure(drawing, caption.capitalize())
    if run.found.get("per_class"):
        _classes(page, run)
    page.section(
        "This run",
        f"Drawn anew in every epoch: `{run.augment}`. Augmentations frozen into the data: {run.frozen}.",
    )
    if run.command:
        page.commands("", [("The command", run.command)])
    told = {name: value if isinstance(value, str) else json.dumps(value) for name, value in run.recipe.items()}
    page.details("Recipe, resolved", told)
    page.details("Machine", dict(run.machine))
    return page.write(path)


def run_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, Drawing]:
    """Draws a run's metrics over its epochs.

    Args:
        lines: those of metrics.jsonl, in order; from two on there are curves.

    Returns:
        Name ("loss", "accuracy") -> drawing, of what the lines hold.
    """
    if len(lines) < 2:
        return {}
    epochs, x = [line["epoch"] for line in lines], Axis("epoch")

    def line_of(key: str, name: str) -> Line:
        return Line(name, epochs, [line.get(key, float("nan")) for line in lines])

    percent = Axis("on held-out rows", show=lambda share: formats.percent(share, 0))
    measured = [line_of(key, name) for key, name in _NAMES.items() if key in lines[-1]]
    drawn = {"loss": curves([line_of("loss", "loss")], x, Axis("training loss"))}
    if measured:
        drawn["accuracy"] = curves(measured, x, percent)
    return drawn


def _headlines(page: Page, run: RunResult) -> None:
    numbers = []
    for key, name in _NAMES.items():
        if key in run.result:
            best = run.result.get(f"best_{key}")
            note = f"on {formats.number(run.held_out_rows)} held-out rows"
            note += f"; at best {100 * best:.1f}%" if best is not None else ""
            numbers.append(Headline(f"{100 * run.result[key]:.1f}", "%", name, note))
    numbers.append(Headline(formats.duration(run.result["train_seconds"]), "", "training", _speed(run.lines)))
    if run.data_bytes is not None:
        numbers.append(Headline(formats.size(run.data_bytes), "", "data", "everything counted"))
    page.headlines(numbers)


def _speed(lines: Sequence[Mapping[str, Any]]) -> str:
    speeds = sorted(line["images_per_second"] for line in lines if "images_per_second" in line)
    if not speeds:
        return ""
    waits = [line["data_wait_share"] for line in lines if "data_wait_share" in line]
    waited = f", {formats.percent(sum(waits) / len(waits))} of the time waiting for data" if waits else ""
    return f"{formats.number(speeds[len(speeds) // 2])} images a second{waited}"


def _classes(page: Page, run: RunResult) -> None:
    counts, shares = run.found.get("confusion"), run.found["per_class"]
    rows: list[list[Any]] = [[name, share, None, ""] for name, share in shares.items()]
    if counts is not None:
        place = {name: number for number, name in enumerate(run.classes)}
        rows = [
            [name, share, sum(counts[place[name]]), _mistaken_for(counts[place[name]], place[name], run.classes)]
            for name, share in shares.items()
        ]
    rows.sort(key=lambda row: row[1])
    page.section("Class by class", "On the held-out rows, with the weights of the end of the run.")
    page.table(
        "Top-1 of each class" if len(rows) <= _MOST_ROWS else f"The {_MOST_ROWS} worst of {len(rows)} classes",
        [
            Column("class"),
            Column("top-1", show=formats.percent),
            Column("rows"),
            Column("taken most for", align="left"),
        ],
        rows[:_MOST_ROWS],
        "The worst first.",
    )
    if counts is not None and len(run.classes) <= _MOST_DRAWN:
        page.figure(
            confusion(counts, run.classes),
            "What it takes for what",
            "Each row is a true class, shaded by the share of the row.",
        )


def _mistaken_for(row: Sequence[int], true: int, classes: Sequence[str]) -> str:
    """Returns the class that a class is taken for most, and how often; "" if it never is."""
    count, other = max(((n, -c) for c, n in enumerate(row) if c != true), default=(0, 0))
    return f"{classes[-other]} ({count})" if count else ""
