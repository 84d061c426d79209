"""`seit tokenizer train` and `seit tokenizer eval`."""

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
from seit.images import Image, Source, decode, open_source, to_view
from seit.progress import progress
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.pyramid import Pyramid
from seit.tokenizers.quality import psnr, ssim
from seit.tokenizers.training import TokenizerRecipe, train

_HELD_OUT = 5  # of a source without a val split, every fifth picture by sorted name


def train_tokenizer(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipe: TokenizerRecipe | None = None,
    *,
    size: int = 256,
    device: str = "auto",
) -> dict[str, Any]:
    """Trains a tokenizer on images and writes it with its card; a second call resumes.

    A source's val split is held out; of a source without one, every fifth picture by sorted name.

    Args:
        sources: what `open_source` takes; each is drawn from equally often.
        out: the .safetensors file to write; its stem is the tokenizer's name.
        recipe: every choice of the training.
        size: side of the square view that its preprocessing makes, pixels.
        device: auto, cpu, cuda or mps.

    Returns:
        The card: command, data, recipe, and quality on the held-out pictures of each source.

    Raises:
        TokenizerError: `out` exists, or the training diverged.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise TokenizerError("a tokenizer is a .safetensors file", str(out), "name it so")
    if out.exists():
        raise TokenizerError("exists already", str(out), "remove it or choose another --out")
    recipe = recipe or TokenizerRecipe()
    uneven = [side for side in (size, *recipe.sides) if side <= 0 or side % recipe.patch]
    if recipe.patch % 2 or uneven:
        raise TokenizerError(
            f"patch {recipe.patch} with sides of {', '.join(map(str, uneven or recipe.sides))} pixels",
            str(out),
            "choose an even patch, and a size and sides that are its multiples",
        )
    opened = [open_source(source) for source in sources]
    fitted, held = zip(*(_held_out(source) for source in opened), strict=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    snapshot = out.with_suffix(".partial")
    pyramid = Pyramid(fitted, min(recipe.sides))
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
    return card


def eval_tokenizer(
    name: str, source: str | os.PathLike[str], *, size: int | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Measures a tokenizer on the held-out pictures of a source (see `train_tokenizer`).

    Args:
        name: what `seit.tokenizers.load` opens.
        source: what `open_source` takes.
        size: side of the square view in pixels, where it shall not be the tokenizer's own.
        device: auto, cpu, cuda or mps.

    Returns:
        What `evaluate` returns.
    """
    opened = open_source(source)
    held = _held_out(opened)[1]
    tokenizer = tokenizers.load(name, resolve(device))
    if size is not None:
        tokenizer.preprocessing = {**tokenizer.preprocessing, "size": size}
    return evaluate(tokenizer, held or list(opened))


def evaluate(tokenizer: Tokenizer, images: Sequence[Image]) -> dict[str, Any]:
    """Measures reconstruction and use of codes on pictures at the side that suits them.

    Pictures smaller than the tokenizer's view are taken at their own side (rounded down to the patch), so that
    64-pixel pictures are not judged enlarged.

    Returns:
        images, side (pixels), psnr_db, ssim, codes_used, entropy_bits (of the ids, zero order).
    """
    first = decode(images[0].read(), images[0].name)
    side = min(tokenizer.preprocessing["size"], min(first.size) // tokenizer.patch * tokenizer.patch)
    preprocessing = {**tokenizer.preprocessing, "size": side}
    counts = torch.zeros(tokenizer.vocabulary)
    scores: list[torch.Tensor] = []
    device = tokenizer.codebook.device
    with torch.inference_mode(), progress(len(images), f"evaluate {tokenizer.name}", "images") as bar:
        for image in images:
            view = to_view(decode(image.read(), image.name), preprocessing)
            batch = torch.from_numpy(view).to(device).permute(2, 0, 1)[None].float() / 255
            ids = tokenizer.encode(batch)
            decoded = tokenizer.decode(ids)
            scores.append(torch.stack([psnr(batch, decoded)[0], ssim(batch, decoded)[0]]).cpu())
            counts += torch.bincount(ids.flatten().cpu(), minlength=len(counts))
            bar.update(1)
    share = counts[counts > 0] / counts.sum()
    mean = torch.stack(scores).mean(0)
    return {
        "images": len(images),
        "side": side,
        "psnr_db": round(mean[0].item(), 3),
        "ssim": round(mean[1].item(), 4),
        "codes_used": int((counts > 0).sum()),
        "entropy_bits": round(-(share * share.log2()).sum().item(), 4),
    }


def _held_out(source: Source) -> tuple[list[Image], list[Image]]:
    """Splits a source into what is trained on and what is reported on."""
    images = list(source)
    held = images[source.splits["train"] :] or images[_HELD_OUT - 1 :: _HELD_OUT]
    names = {image.name for image in held}
    return [image for image in images if image.name not in names], held
