"""`seit tokenize` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seit.cli.app import Device, DryRun, Json, MaxBad, OnError, Quiet, app, command_line, path, print_result

Source = Annotated[
    str, typer.Argument(help="Images: a folder, tar, Parquet file, list, or an embedded name (sample, photos).")
]
Out = Annotated[Path, typer.Argument(help="The token data set to write.", parser=path)]
Tokenizer = Annotated[str, typer.Option(help="A bundled name (patch8, patch4) or a file.")]
Size = Annotated[int | None, typer.Option(help="Side of the square view in pixels, if not the tokenizer's own.")]
Resize = Annotated[str | None, typer.Option(help="squash (straight to the square) or crop (the centre).")]
Views = Annotated[
    str,
    typer.Option(help="Of each image: plain, flip, crops:N (random), ten-crop, listed (boxes of a .jsonl list)."),
]
Seed = Annotated[int, typer.Option(help="Of random crops.")]
Codec = Annotated[str, typer.Option(help="auto, zero-order, context or learned.")]
ImageColumn = Annotated[str | None, typer.Option(help="Column, or WebDataset ending, of the images.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column, ending or JSON key of the labels.")]
Classes = Annotated[Path | None, typer.Option(help="Class names, one a line, for labels that are numbers.")]
PrivateHosts = Annotated[
    bool, typer.Option("--allow-private-hosts", help="URLs of a list may lead into private networks.")
]
Engine = Annotated[str, typer.Option(help="local, or ray (the cluster that Ray finds).")]
Workers = Annotated[int | None, typer.Option(help="Decode processes (0: threads), or Ray encoders.", min=0)]
Batch = Annotated[
    int | None, typer.Option(help="Images encoded at once; about a million pixels by default.", min=1)
]
Precision = Annotated[str, typer.Option(help="Of the network: float32 or bfloat16.")]
Compile = Annotated[bool, typer.Option("--compile", help="Let torch compile the network.")]
Within = Annotated[str | None, typer.Option(help="A token data set whose codes these images shall keep to.")]
WithinBy = Annotated[str, typer.Option(help="How: search among those codes, or nearest to the best of all.")]


@app.command()
def tokenize(
    source: Source,
    out: Out,
    tokenizer: Tokenizer = "patch8",
    size: Size = None,
    resize: Resize = None,
    views: Views = "plain",
    seed: Seed = 0,
    codec: Codec = "auto",
    on_error: OnError = "fail",
    max_bad: MaxBad = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    classes: Classes = None,
    allow_private_hosts: PrivateHosts = False,
    engine: Engine = "local",
    workers: Workers = None,
    batch: Batch = None,
    precision: Precision = "float32",
    compiled: Compile = False,
    within: Within = None,
    within_by: WithinBy = "search",
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Turn images into a token data set.

    Example: seit tokenize photos/ photos.tokens
    """
    options = {name: value for name, value in locals().items() if name not in ("as_json", "silent")}
    from seit.cli.job import info_text  # here, so that this command is the first to be listed
    from seit.images.account import Account
    from seit.verbs.tokenize import tokenize as verb

    account = Account()
    result = verb(**options, command=command_line(), account=account)
    told = {"account": account.to_json()}
    if dry_run:
        print_result(told, f"nothing is written; without --dry-run this writes {out}")
        return
    if "rank" in result:
        print_result(result, f"rank {result['rank']} is done with {result['shards']} shards; the last rank commits")
        return
    hint = f"\nhint: {result['hint']}" if "hint" in result else ""
    print_result(result | told, f"{info_text(result)}{hint}\nwritten to {out}; next: seit train {out} --out RUN")
