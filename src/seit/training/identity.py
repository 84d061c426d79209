"""Whether a training may use a run's folder: it is free, or holds this very training, finished or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from seit.errors import RunError
from seit.run import Run
from seit.training.recipe import Recipe
from seit.training.state import checkpoints


def accepted(run: Run, about: Mapping[str, Any], extend: bool = False) -> dict[str, Any] | None:
    """Returns the result of a training if it is finished, else None; refuses a folder of anything else.

    A training is the same if its rows are (by their fingerprint, wherever they lie), its classes, preprocessing and
    tokenizer, the weights it starts from, and its recipe, a field that an earlier version did not know taken as its
    default.

    Args:
        run: where it shall be.
        about: what its run.json would hold.
        extend: whether it may be the same training but for more epochs; then it is not finished.

    Raises:
        RunError: the folder holds something else, or another training.
    """
    run.check_free()
    if not run.exists():
        return None
    there, recipe = run.about(), Recipe.from_json(about["recipe"])
    fields = recipe.differences(there["recipe"])
    longer = fields == {"epochs"} and recipe.epochs > there["recipe"]["epochs"]
    differing = [what for what, (mine, theirs) in _compared(about, there).items() if mine != theirs]
    if fields and not (longer and extend):
        differing.append(f"recipe ({', '.join(sorted(fields))})")
    if differing == ["data"] and about["data"] == there.get("data"):
        raise RunError("holds a run on what the data was before it changed", str(run), "choose another --out")
    if differing:
        cure = "choose another --out" + (", or --extend it to more epochs" if longer else "")
        raise RunError(f"holds a run with another {' and '.join(differing)}", str(run), cure)
    return None if longer else run.result()


def _compared(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what has to be equal besides the recipe: its name -> both values."""

    def identity(about: Mapping[str, Any]) -> Any:
        return (about.get("tokenizer") or {}).get("identity")

    def weights(about: Mapping[str, Any]) -> Any:
        return (about.get("from") or {}).get("weights")

    return {
        "data": (mine["fingerprint"], theirs.get("fingerprint")),
        "classes": (mine["classes"], theirs["classes"]),
        "preprocessing": (mine["preprocessing"], theirs["preprocessing"]),
        "tokenizer": (identity(mine), identity(theirs)),
        "from": (weights(mine), weights(theirs)),
    }


@contextlib.contextmanager
def begun(run: Run, about: Mapping[str, Any], extend: bool = False) -> Iterator[dict[str, Any] | None]:
    """Holds a run for a training as long as the block runs; gives its result if it is finished.

    That is asked again here, when no other process can be training it: one that held it may have ended since.

    Raises:
        BusyError: another process trains it.
        RunError: see `accepted`.
    """
    with run.held():
        result = accepted(run, about, extend)
        if run.exists() and result is None:
            before, after = run.about()["recipe"]["epochs"], about["recipe"]["epochs"]
            if after != before:  # more of them, or `accepted` had refused
                if not checkpoints(run):
                    cure = "start another run with --from it"
                    raise RunError("has no checkpoint to go on from", str(run), cure)
                steps = max((line["step"] for line in run.lines()), default=0)
                extension = {"steps": steps, "epochs": [before, after], "command": about.get("command", "")}
                run.extend(about["recipe"], extension)
        run.begin(about)
        yield result
