"""`seit tokenizer train`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seit import tokenizers
from seit.device import resolve
from seit.errors import TokenizerError
from seit.images import Quarantine, open_source, readable
from seit.images.quarantine import report_path, skippable
from seit.tokenizers.pyramid import Pyramid
from seit.tokenizers.recipe import TokenizerRecipe, sides_of, untrained
from seit.tokenizers.training import train
from seit.verbs.eval_tokenizer import evaluate, held_out


def train_tokenizer(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipe: TokenizerRecipe | None = None,
    *,
    size: int = 256,
    on_error: str = "fail",
    max_bad: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Trains a tokenizer on images and writes it with its card; a second call resumes.

    A source's val split is held out; of a source without one, every fifth picture by sorted name.

    Args:
        sources: what `open_source` takes; each is drawn from equally often.
        out: the .safetensors file to write; its stem is the tokenizer's name.
        recipe: every choice of the training.
        size: side of the square view that its preprocessing makes, pixels.
        on_error: "fail" at the first picture that cannot be read, "skip" such pictures, or skip up to a "limit".
            Those that were skipped are named in OUT.quarantine.jsonl.
        max_bad: the limit, of all sources together.
        device: auto, cpu, cuda or mps.

    Returns:
        The card: command, data, recipe, and quality on the held-out pictures of each source; and `account` of each
        source, see `seit.images.account`.

    Raises:
        TokenizerError: `out` exists, the recipe's sizes do not fit, or the training diverged.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise TokenizerError("a tokenizer is a .safetensors file", str(out), "name it so")
    if out.exists():
        raise TokenizerError("exists already", str(out), "remove it or choose another --out")
    recipe = recipe or TokenizerRecipe()
    with torch.device("meta"):
        untrained(recipe, size, out.stem)  # says what does not fit before any picture is read
    quarantine = Quarantine(on_error, max_bad)
    opened = [open_source(source, for_training=False) for source in sources]
    for source in opened:
        source.account.tell()
    opened = readable(opened, quarantine, channels=recipe.channels, report=report_path(out))
    fitted, held = zip(*(held_out(source) for source in opened), strict=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    snapshot = out.with_suffix(".partial")
    with skippable(quarantine):
        pyramid = Pyramid(fitted, min(sides_of(recipe, size)), recipe.channels)
    tokenizer = train(recipe, pyramid, snapshot, name=out.stem, size=size, device=resolve(device))
    # Half the bytes; the rounding comes before the quality is measured, so it is part of the tokenizer.
    tokenizers.save(tokenizer.cpu().half().float(), out.with_suffix(".unreported.safetensors"), {})
    rounded = tokenizers.load(out.with_suffix(".unreported.safetensors"), resolve(device))
    card = {
        "command": " ".join(["seit", *sys.argv[1:]]),
        "data": [{"source": s.name, "trained_on": len(f)} for s, f in zip(opened, fitted, strict=True)],
        "recipe": asdict(recipe),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "quality": {s.name: evaluate(rounded, h) for s, h in zip(opened, held, strict=True) if h},
    }
    tokenizers.save(rounded, out, card)
    out.with_suffix(".unreported.safetensors").unlink()
    snapshot.unlink(missing_ok=True)
    return card | {"account": [source.account.to_json() for source in opened]}
