"""The command line: parses, calls the verb of the same name, prints. No logic lives here.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed (one line), 2 wrong
usage, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seit import __version__
from seit.errors import SeitError
from seit.progress import quiet

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train vision models on token data sets of about 1% of the JPEGs' bytes.",
)
tokenizer_app = typer.Typer(no_args_is_help=True, help="Train and judge tokenizers.")
app.add_typer(tokenizer_app, name="tokenizer")

_as_json = False

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", callback=lambda on: _json(on))]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.", callback=lambda on: on and quiet())]


def _json(on: bool) -> bool:
    global _as_json
    _as_json = _as_json or on
    return on


def _print(result: Any, text: str) -> None:
    """Prints one result: as JSON where asked, else as text."""
    print(json.dumps({"schema": 1, **result}, indent=2) if _as_json else text)


def _lines(values: dict[str, Any]) -> str:
    """Returns aligned "name value" lines."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in values.items())


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"seit {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; every mistake that a user can mend ends in one line and exit code 1."""
    try:
        app()
    except SeitError as error:
        if _as_json:
            print(json.dumps({"error": {"what": error.what, "where": error.where, "cure": error.cure}}))
        print(f"seit: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("seit: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"seit: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        sys.exit(1)


@tokenizer_app.command("train")
def tokenizer_train(
    sources: Annotated[list[str], typer.Argument(help="Folders or tars of images; each drawn from equally often.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    patch: Annotated[int, typer.Option(help="Pixels per cell side.")] = 8,
    codes: Annotated[int, typer.Option(help="Number of codes.")] = 512,
    code_dim: Annotated[int, typer.Option(help="Width of a code.")] = 16,
    sides: Annotated[str, typer.Option(help="Crop sides in pixels, taken in turn.")] = "128,64",
    pixels: Annotated[int, typer.Option(help="Pixels of one batch.")] = 32 * 64 * 64,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 3000,
    size: Annotated[int, typer.Option(help="Side of the square view it is for, pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Train a tokenizer on your own images.

    Example: seit tokenizer train photos/ --out mine.safetensors --patch 8 --steps 3000
    """
    from seit.tokenizers.training import TokenizerRecipe
    from seit.verbs.tokenizer import train_tokenizer

    parsed = tuple(int(side) for side in sides.split(","))
    recipe = TokenizerRecipe(
        patch=patch, codes=codes, code_dim=code_dim, sides=parsed, pixels=pixels, steps=steps, seed=seed
    )
    card = train_tokenizer(sources, out, recipe, size=size, device=device)
    lines = {name: json.dumps(quality) for name, quality in card["quality"].items()}
    _print(card, f"{_lines(lines)}\nwritten to {out}; next: seit tokenize SRC OUT --tokenizer {out}")


@tokenizer_app.command("eval")
def tokenizer_eval(
    tokenizer: Annotated[str, typer.Argument(help="A bundled name or a file.")],
    source: Annotated[str, typer.Argument(help="Images; its held-out ones are used.")],
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Measure PSNR, SSIM and use of codes.

    Example: seit tokenizer eval patch8 photos/
    """
    from seit.verbs.tokenizer import eval_tokenizer

    result = eval_tokenizer(tokenizer, source, device=device)
    _print(result, _lines(result))


if __name__ == "__main__":
    main()
