"""The main job after tokenize: info, show, train, eval, runs, predict, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seit.cli.app import (
    Device,
    DryRun,
    Json,
    MaxBad,
    OnError,
    Quiet,
    app,
    command_line,
    lines_of,
    path,
    print_result,
    table_of,
)
from seit.errors import shown


@app.command()
def info(
    tokens: Annotated[str, typer.Argument(help="A token data set, or its URL.")],
    classes: Annotated[bool, typer.Option("--classes", help="Measure each class as well.")] = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Say what a token data set holds and what it costs.

    Example: seit info photos.tokens
    """
    from seit.verbs.info import info as verb

    result = verb(tokens, classes=classes)
    print_result(result, "\n".join([info_text(result), *_class_lines(result.get("per_class", {}))]))


@app.command()
def show(
    tokens: Annotated[str, typer.Argument(help="A token data set, or its URL.")],
    out: Annotated[Path | None, typer.Option(help="The PNG file; TOKENS.png by default.", parser=path)] = None,
    source: Annotated[str | None, typer.Option(help="The original images, where they have moved.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer, if not a bundled one.")] = None,
    rows: Annotated[
        int | None, typer.Option(help="How many, drawn from all; 12 (4 with --augment) by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    augment: Annotated[
        bool, typer.Option("--augment", help="Draw a recipe's augmentations instead, before and after.")
    ] = False,
    recipe: Annotated[str, typer.Option(help="The recipe, with --augment.")] = "token-in1k",
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, a field of the recipe.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Draw what ids decode to, beside the originals.

    Example: seit show photos.tokens
    """
    from seit.verbs.show import show as verb

    result = verb(
        tokens,
        out,
        source=source,
        tokenizer=tokenizer,
        rows=rows,
        seed=seed,
        augment=augment,
        recipe=recipe,
        settings=dict(_pair(setting) for setting in settings or []),
        device=device,
    )
    order = f"\n{result['pipeline']}" if augment else ""
    changed = result.get("changed")
    note = f"\ndrawn blank, for they have changed: {shown(', '.join(changed))}" if changed else ""
    print_result(result, f"drawn to {result['out']}{order}{note}")


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="A token data set (or images, for a pixel recipe).")],
    out: Annotated[Path, typer.Option(help="The folder of the run.", parser=path)],
    recipe: Annotated[str, typer.Option(help="A recipe's name; an unknown one lists them.")] = "mini",
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, a field of the recipe.")] = None,
    from_run: Annotated[Path | None, typer.Option("--from", help="A finished run to start from.")] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on with the run in --out for more epochs than it was begun with.")
    ] = False,
    tokenizer: Annotated[str | None, typer.Option(help="The data set's tokenizer, if not a bundled one.")] = None,
    log: Annotated[list[str] | None, typer.Option(help="Also tell tensorboard or wandb (extras).")] = None,
    on_error: OnError = "fail",
    max_bad: MaxBad = None,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Train a classifier on a token data set.

    Example: seit train photos.tokens --out run --set epochs=20
    """
    from seit.images.account import Account
    from seit.verbs.train import train as verb

    account = Account()
    chosen = dict(_pair(setting) for setting in settings or [])
    result = verb(
        data,
        out,
        recipe=recipe,
        settings=chosen,
        from_run=from_run,
        extend=extend,
        tokenizer=tokenizer,
        on_error=on_error,
        max_bad=max_bad,
        device=device,
        log=log or [],
        command=command_line(),
        account=account,
    )
    told = {"account": account.to_json()} if account.source else {}
    text = f"{lines_of(_rounded(result))}\npage: {out / 'report.html'}\nnext: seit predict {out} IMAGE..."
    print_result(result | told, text)


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    tokens: Annotated[str | None, typer.Option(help="A token data set, or its URL.")] = None,
    images: Annotated[str | None, typer.Option(help="Images in class folders.")] = None,
    split: Annotated[str, typer.Option(help="train, val or all.")] = "val",
    classes: Annotated[
        str | None, typer.Option(help="These classes alone: names with commas between them, or a file of names.")
    ] = None,
    on_error: OnError = "fail",
    max_bad: MaxBad = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Measure a run's accuracy on ids or on images.

    Of class folders without a held-out folder, --split val is the 5% of each class that training holds out too;
    --split all measures every image.

    Example: seit eval run --images photos/
    """
    from seit.images.account import Account
    from seit.verbs.eval import eval as verb

    account = Account()
    result = verb(
        run,
        tokens=tokens,
        images=images,
        split=split,
        classes=classes,
        on_error=on_error,
        max_bad=max_bad,
        device=device,
        dry_run=dry_run,
        account=account,
    )
    told = {} if images is None else {"account": account.to_json()}
    print_result(result | told, "nothing is measured" if dry_run else _eval_text(result))


@app.command()
def runs(
    folders: Annotated[list[Path], typer.Argument(help="Runs, or folders with runs below them.")],
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Compare runs: recipe, data, bytes, epochs, accuracy, time, speed.

    Example: seit runs run
    """
    from seit.verbs.runs import runs as verb

    results = verb(folders)
    print_result({"runs": results}, table_of([_run_row(result) for result in results]))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    images: Annotated[list[str], typer.Argument(help="Image files, or folders: all pictures below them.")],
    top: Annotated[int, typer.Option(help="Classes listed for each.", min=1)] = 5,
    out: Annotated[Path | None, typer.Option(help="A .csv or .json file to write besides.", parser=path)] = None,
    on_error: OnError = "fail",
    max_bad: MaxBad = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Classify images.

    Example: seit predict run photo.jpg
    """
    from seit.images.account import Account
    from seit.verbs.predict import predict as verb

    account = Account()
    results = verb(
        run,
        images,
        top=top,
        out=out,
        on_error=on_error,
        max_bad=max_bad,
        device=device,
        dry_run=dry_run,
        account=account,
    )
    lines = [
        f"{shown(str(r['image']))}: " + ", ".join(f"{shown(name)} {100 * p:.1f}%" for name, p in r["top"])
        for r in results
    ]
    text = "nothing is predicted" if dry_run else "\n".join(lines)
    print_result({"predictions": results, "account": account.to_json()}, text)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="The folder to write; an earlier demo in it is replaced.", parser=path)
    ] = Path("demo"),
    small: Annotated[bool, typer.Option("--small", help="Train for a few steps only.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    silent: Quiet = False,
) -> None:
    """Run the whole job on the embedded images and write a report.

    Example: seit demo --out demo
    """
    from seit.verbs.demo import demo as verb

    result = verb(out, small=small, device=device)
    shown = {
        "accuracy from tokens": f"{100 * result['token_top1']:.1f}%",
        "accuracy from pixels": f"{100 * result['pixel_top1']:.1f}%  (same trunk, same steps)",
        "JPEG, small images": f"{result['jpeg_bytes_per_image']:.0f} B an image"
        f" ({result['jpeg_payload_bytes_per_image']:.0f} B without headers)",
        "tokens, small images": f"{result['token_bytes_per_image']:.0f} B an image, everything counted",
        "tokens, full-size photos": f"{100 * result['photo_ratio']:.2f}% of the JPEG bytes, everything counted"
        f" ({100 * result['photo_ratio_without_fixed']:.2f}% without what all photos share)",
        "time": f"{result['seconds']:.0f} s",
    }
    print_result(result, f"{lines_of(shown)}\nreport: {out / 'report.html'}")


def _pair(setting: str) -> tuple[str, str]:
    """Returns the two sides of key=value."""
    name, equals, value = setting.partition("=")
    if not equals:
        raise typer.BadParameter(f"{setting!r} is not key=value", param_hint="--set")
    return name, value


def _eval_text(result: dict[str, Any]) -> str:
    """Returns `seit eval` as a person reads it."""
    part = f"{result['rows']:,} of {result['all_rows']:,}"
    rule = f", {result['split_rule']}" if result["split_rule"] and result["split"] != "all" else ""
    whole = {"rows": f"{part} (split {result['split']}{rule})"}
    whole |= _rounded({name: result[name] for name in ("top1", "top5", "map") if name in result})
    measure = "average precision" if "map" in result else "top-1"
    per_class = lines_of({f"  {name}": f"{100 * share:.1f}%" for name, share in result["per_class"].items()})
    mistakes = [
        f"  {m['true']} taken for {m['predicted']}: {m['rows']} of {m['of']}" for m in result.get("confusions", [])
    ]
    if mistakes:
        mistakes.insert(0, "commonest confusions")
    return "\n".join([lines_of(whole), f"per class ({measure})", per_class, *mistakes])


def _run_row(run: dict[str, Any]) -> dict[str, str]:
    """Returns one line of `seit runs`."""

    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.2f}%"

    measure = "map" if "map" in run else "top1"
    last, best = run[measure], run[f"best_{measure}"]
    settings = " ".join(f"{name}={value}" for name, value in run["settings"].items())
    return {
        "run": run["run"],
        "recipe": run["recipe"],
        "trunk": run["trunk"],
        "data": run["data"],
        "bytes": "-" if run["bytes"] is None else f"{run['bytes']:,}",
        "from": run["start"] or "-",
        "epochs": f"{run['epochs']:g}" + ("" if run["finished"] else f" of {run['epochs_planned']:g}"),
        "last": percent(last) + (" mAP" if measure == "map" else ""),
        "best": percent(best),
        "seconds": f"{run['seconds']:.0f}",
        "images/s": "-" if run["images_per_second"] is None else f"{run['images_per_second']:.0f}",
        "differs in": settings or "-",
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values as a person reads them: shares of 1 as percent, floats short."""
    shown = {}
    for name, value in values.items():
        share = name.removeprefix("best_") in ("top1", "top5", "map", "data_wait_share")
        shown[name] = f"{100 * value:.2f}%" if share else f"{value:.1f}" if isinstance(value, float) else value
    return shown


def info_text(info: dict[str, Any]) -> str:
    """Returns `seit info` as a person reads it."""
    per_image, parts = info["bytes_per_image"], info["bytes"]
    rows, columns = info["grid"]
    lines = {
        "images": f"{info['images']:,} ({', '.join(f'{n:,} {split}' for split, n in info['splits'].items())})",
        "classes": f"{info['classes']:,}",
        "ids": f"{rows} x {columns} an image, {info['codes_used']:,} of {info['vocabulary']:,} codes used",
        "tokenizer": _tokenizer_text(info["tokenizer"]),
        "codec": ", ".join(info["codec"]),
        "views": _views_text(info["views"], info["source"]),
        "bytes an image": f"{per_image['payload_offsets_labels']:.1f} (their zero-order entropy is"
        f" {per_image['entropy']:.1f}, {info['entropy_bits_per_id']:.3f} bits an id)",
        "all bytes": f"{parts['total']:,} ({parts['total'] / 2**30:.4f} GiB): "
        + ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in parts.items() if name != "total"),
    }
    if info["share_of_files_percent"] is not None:
        lines["source"] = (
            f"{per_image['source_file']:.0f} bytes an image ({per_image['source_scan']:.0f} without JPEG headers);"
            f" all bytes here are {info['share_of_files_percent']:.2f}% of that"
            f" ({info['share_of_scans_percent']:.2f}%)"
        )
    if info["source"].get("quarantined"):
        lines["left out"] = f"{info['source']['quarantined']:,} bad images, see {info['path']}.quarantine.jsonl"
    return lines_of(lines)


def _views_text(views: int, source: dict[str, Any]) -> str:
    """Returns how many rows an image has, and which augmentations can no longer be drawn anew in training."""
    frozen = source.get("frozen", "none" if views == 1 else "not recorded")
    return f"{views} an image; augmentations frozen into the data set: {shown(str(frozen))}"


def _class_lines(classes: dict[str, dict[str, float]]) -> list[str]:
    """Returns a table of the classes: images, payload and source bytes an image, entropy, codes used."""
    width = max(map(len, ["class", *classes]))
    head = [f"{'class':<{width}}   images  bytes  source bytes  bits an id  codes"] if classes else []
    return head + [
        f"{shown(name):<{width}}  {one['images']:7,.0f}  {one['payload_bytes_per_image']:5.0f}"
        f"  {one['source_file_bytes_per_image']:12,.0f}  {one['entropy_bits_per_id']:10.3f}  {one['codes_used']:5,}"
        for name, one in classes.items()
    ]


def _tokenizer_text(tokenizer: dict[str, Any]) -> str:
    """Returns a tokenizer's name, and the side of its view where that is known (plain arrays of ids have none)."""
    size = tokenizer.get("preprocessing", {}).get("size")
    return tokenizer["name"] if size is None else f"{tokenizer['name']} at {size} pixels"
