"""Tokenizers: train and judge them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from seit.cli.app import Device, Json, MaxBad, OnError, Quiet, app, lines_of, print_result

tokenizer_app = typer.Typer(no_args_is_help=True, help="Train and judge tokenizers.")
app.add_typer(tokenizer_app, name="tokenizer")


@tokenizer_app.command("train")
def tokenizer_train(
    sources: Annotated[list[str], typer.Argument(help="Folders or tars of images; each drawn from equally often.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    family: Annotated[str, typer.Option(help="conv, vqgan or vit-vqgan.")] = "conv",
    patch: Annotated[int, typer.Option(help="Pixels per cell side, even.", min=2)] = 8,
    codes: Annotated[int, typer.Option(help="Number of codes.", min=2)] = 512,
    code_dim: Annotated[int, typer.Option(help="Width of a code.", min=1)] = 16,
    width: Annotated[
        int | None, typer.Option(help="Channels, if not what suits the family (64; vit-vqgan 256).", min=1)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Blocks, if not what suits the family (2, 1; vit-vqgan 4).", min=1)
    ] = None,
    channels: Annotated[int, typer.Option(help="Of an image: 3 for RGB, 1 for grey, 4 for RGBA.")] = 3,
    sides: Annotated[
        str | None, typer.Option(help="Crop sides in pixels, taken in turn (128,64; vit-vqgan its size).")
    ] = None,
    pixels: Annotated[int, typer.Option(help="Pixels of one batch.", min=1)] = 32 * 64 * 64,
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 3000,
    size: Annotated[int, typer.Option(help="Side of the square view it is for, pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    on_error: OnError = "fail",
    max_bad: MaxBad = None,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Train a tokenizer on your own images; the same call goes on with an interrupted training.

    Example: seit tokenizer train photos/ --out mine.safetensors --patch 8 --steps 3000
    """
    from seit.tokenizers.recipe import TokenizerRecipe
    from seit.verbs.tokenizer import train_tokenizer

    recipe = TokenizerRecipe(
        family=family,
        patch=patch,
        codes=codes,
        code_dim=code_dim,
        width=width,
        depth=depth,
        channels=channels,
        sides=None if sides is None else _numbers(sides),
        pixels=pixels,
        steps=steps,
        seed=seed,
    )
    card = train_tokenizer(sources, out, recipe, size=size, on_error=on_error, max_bad=max_bad, device=device)
    lines = {name: json.dumps(quality) for name, quality in card["quality"].items()}
    print_result(card, f"{lines_of(lines)}\nwritten to {out}; next: seit tokenize SRC OUT --tokenizer {out}")


@tokenizer_app.command("eval")
def tokenizer_eval(
    tokenizer: Annotated[str, typer.Argument(help="A bundled name or a file.")],
    source: Annotated[str, typer.Argument(help="Images; its held-out ones are used.")],
    size: Annotated[
        int | None, typer.Option(help="Side of the view in pixels, if not the tokenizer's own.")
    ] = None,
    rfid: Annotated[
        bool, typer.Option("--rfid", help="Measure the Frechet distance, too (needs torch-fidelity).")
    ] = False,
    sheet: Annotated[Path | None, typer.Option(help="A PNG file for originals beside reconstructions.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Measure PSNR, SSIM, use of codes and speed, and draw reconstructions.

    Example: seit tokenizer eval patch8 photos/
    """
    from seit.verbs.eval_tokenizer import eval_tokenizer

    result = eval_tokenizer(tokenizer, source, size=size, rfid=rfid, sheet=sheet, device=device)
    print_result(result, lines_of(result))


@tokenizer_app.command("convert")
def tokenizer_convert(
    source: Annotated[str, typer.Argument(help="A checkpoint as published, a hub id, a bundled name or a file.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    license: Annotated[str, typer.Option(help="Of the weights, for the model card.")] = "",
    push: Annotated[
        str | None, typer.Option("--push-to-hub", help="owner/name of a model repository to upload it to.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone read a new repository of the hub.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another model or somebody's card on the hub.")
    ] = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Write any tokenizer as safetensors and JSON, with a model card.

    Example: seit tokenizer convert patch8 patch8-folder
    """
    from seit.verbs.convert_tokenizer import convert_tokenizer, push_to_hub

    result = convert_tokenizer(source, out, license=license)
    if push is not None:
        result["commit"] = push_to_hub(out, push, private=not public, overwrite=overwrite)
    print_result(result, lines_of(result))


def _numbers(text: str) -> tuple[int, ...]:
    """Returns the numbers of a list such as 128,64."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list such as 128,64", param_hint="--sides") from error
