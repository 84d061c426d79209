"""What all benchmarks share: their options, timing in turns, the machine, and where results are kept.

A benchmark's `main` makes `parser(...)`, adds what it alone needs, and hands a function to `run`. Every benchmark
prints one JSON document (--json: on one line). A full run, without --quick, also writes it to
`benchmarks/results/NAME.json`, from which `tables.py` makes the tables of the pages in docs/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seit.device import machine, resolve

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Work = tuple[Callable[[], Any], int]
"""What to time, and how many items (images, rows, steps) a call handles."""


def parser(doc: str | None, quick: str, pictures: bool = False, device: bool = False) -> argparse.ArgumentParser:
    """Returns a parser with the options of every benchmark.

    Args:
        doc: the module's docstring.
        quick: what --quick leaves out, and how long it takes then.
        pictures: add --data and --work, for benchmarks that measure real pictures.
        device: add --device, for benchmarks that run a network; `run` resolves it.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print JSON on one line")
    made.add_argument("--quick", action="store_true", help=quick)
    if pictures:
        data = os.environ.get("SEIT_DATA")
        made.add_argument("--data", type=Path, default=data and Path(data), help="folder of the picture sets")
        made.add_argument("--work", type=Path, help="where tokenized sets are kept for the next run")
    if device:
        made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    return made


def run(file: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace], dict[str, Any]]) -> None:
    """Measures, prints the result as one document, and keeps that of a full run.

    Args:
        file: the benchmark's `__file__`.
        options: as parsed; `measure` takes them.
        measure: returns the figures.
    """
    options.device = resolve(getattr(options, "device", "cpu"))
    figures = measure(options)
    name = Path(file).stem
    result = {
        "schema": 1,
        "benchmark": name,
        "quick": options.quick,
        "command": _command(name, options),
        "commit": _commit(),
        "machine": {**machine(options.device), "load": [round(load, 2) for load in os.getloadavg()]},
        **_rounded(figures),
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def in_turns(works: dict[str, Work], reference: str, seconds: float, rounds: int = 3) -> dict[str, dict[str, Any]]:
    """Times all works in turns, round after round, so that what else the machine does hits all of them alike.

    Every other round runs backwards, and each round gives one ratio for each work: medians of ratios stay right on
    a machine whose speed changes, where ratios of medians do not.

    Args:
        works: name -> what to time.
        reference: the name that the others are compared with.
        seconds: about how long to go on.
        rounds: how many to make at least.

    Returns:
        name -> per_s (items a second, median), best_per_s, cpu_ms (processor milliseconds an item, the least),
        of_<reference> (median of the speeds' ratios), quartiles (of these), of_<reference>_by_cpu_time, rounds.
    """
    for work, _ in works.values():
        work()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    end = time.perf_counter() + seconds
    for number in itertools.count():
        if number >= rounds and time.perf_counter() >= end:
            break
        for name in list(works)[:: -1 if number % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            works[name][0]()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    each = {name: np.array(times) / works[name][1] for name, times in spent.items()}
    table = {}
    for name, times in each.items():
        ratios = each[reference] / np.maximum(times, 1e-12)
        table[name] = {
            "per_s": 1 / float(np.median(times[:, 0])),
            "best_per_s": 1 / float(times[:, 0].min()),
            "cpu_ms": 1000 * float(times[:, 1].min()),
            f"of_{reference}": float(np.median(ratios[:, 0])),
            "quartiles": np.quantile(ratios[:, 0], [0.25, 0.75]).tolist(),
            f"of_{reference}_by_cpu_time": float(np.median(ratios[:, 1])),
            "rounds": len(times),
        }
    return table


def waited(device: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """Returns `work`, so that a call of it ends when the device has done it."""
    if device != "cuda":
        return work
    import torch

    return lambda: (work(), torch.cuda.synchronize())


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this process, and torch in it, on one core for as long as the block runs."""
    import torch

    threads, cores = torch.get_num_threads(), None
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)


def _command(name: str, options: argparse.Namespace) -> str:
    """Returns the command as anyone would repeat it: folders of this machine by the names of their options."""
    places = {str(value): option.upper() for option, value in vars(options).items() if isinstance(value, Path)}
    return shlex.join(["python", f"benchmarks/{name}.py", *(places.get(word, word) for word in sys.argv[1:])])


def _commit() -> str | None:
    """Returns the commit of this checkout, marked where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def _rounded(value: Any) -> Any:
    """Returns figures with six digits, which is more than any of them means."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
