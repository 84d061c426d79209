"""Keeping token data sets: verify, repair, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seit.cli.app import Device, Json, Quiet, app, command_line, print_result


@app.command()
def verify(
    tokens: Annotated[Path, typer.Argument(help="A token data set.")],
    decode: Annotated[bool, typer.Option("--decode", help="Also decode every row.")] = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Read every byte of a token data set; exit with 3 if any is damaged.

    Example: seit verify photos.tokens
    """
    from seit.verbs.verify import verify as verb

    result = verb(tokens, decode=decode)
    print_result(result, "\n".join(damage["text"] for damage in result["damages"]) or f"{tokens} is whole")
    if not result["whole"]:
        raise typer.Exit(3)


@app.command()
def repair(
    tokens: Annotated[Path, typer.Argument(help="A token data set.")],
    source: Annotated[str | None, typer.Option(help="The original images, where they have moved.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer, if not a bundled one.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Tokenize again what verify finds damaged, and only that.

    Example: seit repair photos.tokens
    """
    from seit.verbs.verify import repair as verb

    result = verb(tokens, source=source, tokenizer=tokenizer, device=device)
    lines = [f"{r['file']}: {r['rows']} rows tokenized again, {r['changed']} differ" for r in result["repaired"]]
    print_result(result, "\n".join(lines) or f"{tokens} is whole")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A token data set, or the official release's folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    to: Annotated[str, typer.Option(help="tokens, npy, official, parquet or webdataset.")] = "tokens",
    codec: Annotated[str, typer.Option(help="auto, zero-order, context or learned.")] = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Write a token data set with another codec, or in another format.

    Example: seit convert photos.tokens photos.npy --to npy
    """
    from seit.verbs.convert import convert as verb

    result = verb(source, out, to=to, codec=codec, command=command_line())
    print_result(result, f"written to {out}: {', '.join(result['files'])}")
