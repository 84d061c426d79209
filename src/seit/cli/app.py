"""What all commands share: the application, their common options, and how a result is printed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seit.errors import SeitError, shown
from seit.progress import quiet
from seit.ranks import rank

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train vision models on token data sets of about 1% of the JPEGs' bytes.",
)

_as_json = False


def wants_json() -> bool:
    """Whether --json was given."""
    return _as_json


def _json(on: bool) -> bool:
    global _as_json
    _as_json = _as_json or on
    return on


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
OnError = Annotated[
    str, typer.Option(help="Images that cannot be read: fail, skip (a *.quarantine.jsonl names them) or limit.")
]
MaxBad = Annotated[int | None, typer.Option(help="The limit of --on-error limit.", min=0)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is read and what is left out, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", callback=_json)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.", callback=lambda on: on and quiet())]


def print_result(result: Any, text: str) -> None:
    """Prints one result: as JSON where asked, else as text; of several processes the first one's."""
    if rank() == 0:
        print(json.dumps({"schema": 1, **result}, indent=2) if _as_json else text)


def lines_of(values: dict[str, Any]) -> str:
    """Returns aligned "name value" lines; a line break in a name or value is spelt out."""
    width = max(map(len, values), default=0)
    return "\n".join(shown(f"{name:<{width}}  {value}") for name, value in values.items())


def table_of(rows: list[dict[str, str]]) -> str:
    """Returns rows of the same names as aligned columns under those names; the first and last stand left."""
    names = list(rows[0])
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    lines = [
        [
            text.ljust(width[name]) if name in (names[0], names[-1]) else text.rjust(width[name])
            for name, text in line.items()
        ]
        for line in (dict(zip(names, names, strict=True)), *rows)
    ]
    return "\n".join(shown("  ".join(line).rstrip()) for line in lines)


def command_line() -> str:
    """Returns the command line as it was given, to be recorded."""
    return shlex.join(["seit", *sys.argv[1:]])


def path(text: str) -> Path:
    """Returns a path to write to; a URL would become a local folder of an odd name.

    Raises:
        SeitError: it is a URL.
    """
    if "://" in text:
        raise SeitError("is a URL, and a place on this machine is needed", text, "write it here, then seit push")
    return Path(text)
