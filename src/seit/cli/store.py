"""Keeping token data sets: verify, repair, convert, append, merge, subset, edit, push."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from seit.cli.app import Device, Json, Quiet, app, command_line, path, print_result

Out = Annotated[Path, typer.Argument(help="The folder to write.", parser=path)]
Codec = Annotated[str, typer.Option(help="auto, zero-order, context or learned.")]


@app.command()
def verify(
    tokens: Annotated[str, typer.Argument(help="A token data set, or its URL.")],
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
    tokens: Annotated[str, typer.Argument(help="A token data set.")],
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
    source: Annotated[
        str,
        typer.Argument(
            help="A token data set, or a folder of the official release's files, .npy, Parquet or tars."
        ),
    ],
    out: Out,
    to: Annotated[str, typer.Option(help="tokens, npy, official, parquet or webdataset.")] = "tokens",
    codec: Codec = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Write a token data set with another codec or in another format, or another format as a token data set.

    Example: seit convert photos.tokens photos.npy --to npy
    """
    from seit.verbs.convert import convert as verb

    result = verb(source, out, to=to, codec=codec, command=command_line())
    print_result(result, f"written to {out}: {', '.join(result['files'])}")


@app.command()
def subset(
    tokens: Annotated[str, typer.Argument(help="A token data set.")],
    out: Out,
    classes: Annotated[list[str] | None, typer.Option("--class", help="A class to keep; may be repeated.")] = None,
    split: Annotated[str | None, typer.Option(help="The only split to keep.")] = None,
    every: Annotated[int, typer.Option(help="Keep every n-th image.", min=1)] = 1,
    codec: Codec = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Write some rows of a token data set as one of their own.

    Example: seit subset photos.tokens val.tokens --split val
    """
    from seit.verbs.combine import subset as verb

    result = verb(tokens, out, classes=classes or (), split=split, every=every, codec=codec, command=command_line())
    print_result(result, _rows_of(result, f"{out} holds"))


@app.command()
def merge(
    out: Out,
    sources: Annotated[list[str], typer.Argument(help="Token data sets of one tokenizer.")],
    codec: Codec = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Write several token data sets as one.

    Example: seit merge all.tokens photos.tokens val.tokens
    """
    from seit.verbs.combine import merge as verb

    result = verb(sources, out, codec=codec, command=command_line())
    print_result(result, _rows_of(result, f"{out} holds"))


@app.command()
def append(
    tokens: Annotated[str, typer.Argument(help="The token data set that grows.")],
    more: Annotated[str, typer.Argument(help="A data set of the same tokenizer and classes.")],
    codec: Codec = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Add the rows of one token data set to another.

    Example: seit append all.tokens val.tokens
    """
    from seit.verbs.combine import append as verb

    result = verb(tokens, more, codec=codec)
    print_result(result, _rows_of(result, f"{tokens} now holds"))


@app.command()
def edit(
    tokens: Annotated[str, typer.Argument(help="A token data set.")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="OLD=NEW renames a class; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The source's name.")] = None,
    terms: Annotated[str | None, typer.Option(help="The source's terms.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE, as JSON or text, to keep with the data set; KEY= removes it. May be repeated."
        ),
    ] = None,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Rename classes, or change a token data set's name, terms and metadata; no row is touched.

    Example: seit edit photos.tokens --terms "for research" --metadata owner=me
    """
    from seit.verbs.edit import edit as verb

    values = {key: _json_or_text(value) for key, value in _pairs(metadata, "--metadata").items()}
    result = verb(tokens, classes=_pairs(classes, "--class"), name=name, terms=terms, metadata=values)
    print_result(result, _rows_of(result, f"{tokens} holds"))


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or ()]
    for key, sign, _ in pairs:
        if not key or not sign:
            raise typer.BadParameter(f"{key!r} has no '='", param_hint=option)
    return {key: value for key, _, value in pairs}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value) if value else None
    except ValueError:
        return value


@app.command()
def push(
    tokens: Annotated[str, typer.Argument(help="A token data set.")],
    url: Annotated[str, typer.Argument(help="hf://datasets/OWNER/NAME, s3://bucket/folder, ...")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone read a new repository of the hub.")
    ] = False,
    license: Annotated[str, typer.Option(help="Named on the hub's card.")] = "other",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another data set or somebody's card on the hub.")
    ] = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Copy a token data set to the Hugging Face hub or an object store, or bring the copy up to date.

    Example: seit push photos.tokens file://$PWD/copy.tokens
    """
    from seit.verbs.push import push as verb

    result = verb(tokens, url, public=public, license=license, overwrite=overwrite)
    print_result(result, f"open it as TokenDataset({result['url']!r})")


def _rows_of(info: dict[str, Any], start: str) -> str:
    """Returns one line on what a command wrote."""
    splits = ", ".join(f"{rows:,} {split}" for split, rows in info["splits"].items())
    return f"{start} {splits} rows in {info['bytes']['total']:,} bytes"
