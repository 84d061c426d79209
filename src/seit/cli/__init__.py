"""The command line: parses, calls the verb of the same name, prints. No logic lives here.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed (one line), 2 wrong
usage, 3 `seit verify` found damage, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, NoReturn

import typer

from seit import __version__

from seit.cli import tokenize, job, store, tokenizer  # isort: skip  # the help lists commands in this order
from seit.cli.app import app, wants_json
from seit.errors import SeitError, missing_package

__all__ = ["app", "job", "main", "store", "tokenize", "tokenizer"]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"seit {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; every mistake that a user can mend ends in one line and exit code 1."""
    _prepare_streams()
    try:
        _run()
    except BrokenPipeError:  # who reads our output has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        sys.exit(1)


def _prepare_streams() -> None:
    """Lets a message never fail: closed streams lead nowhere, characters that a stream lacks are spelt out."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file that is opened gets our messages
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")


def _run() -> None:
    try:
        app(prog_name="seit")
    except SeitError as error:
        _fail(error)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # typer turns Ctrl-C into a silent 130
            raise
        print("seit: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        missing = missing_package(error)
        if not isinstance(missing, SeitError):
            raise
        _fail(missing)
    except OSError as error:
        _fail(SeitError(error.strerror or str(error), str(error.filename or ""), "mend that and try again"))


def _fail(error: SeitError) -> NoReturn:
    """Prints one line, with --json also one document, and ends with exit code 1."""
    if wants_json():
        parts = {"what": error.what, "where": error.where, "cure": error.cure}
        print(json.dumps({"schema": 1, "error": parts}, indent=2))
    print(f"seit: {error}", file=sys.stderr)
    sys.exit(1)
