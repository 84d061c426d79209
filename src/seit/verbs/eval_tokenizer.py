"""`seit tokenizer eval`: what a tokenizer keeps of pictures, how it uses its codes, and how fast it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seit import tokenizers
from seit.device import resolve
from seit.errors import TokenizerError
from seit.images import Image, Source, decode, open_source, to_view
from seit.progress import progress
from seit.report.pictures import Tile
from seit.report.sheets import write_sheet
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.frechet import Frechet
from seit.tokenizers.quality import psnr, ssim

_HELD_OUT = 5  # of a source without a val split, every fifth picture by sorted name
_BATCH_PIXELS = 1 << 19
_ON_SHEET = 12


def eval_tokenizer(
    name: str,
    source: str | os.PathLike[str],
    *,
    size: int | None = None,
    rfid: bool = False,
    sheet: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measures a tokenizer on the held-out pictures of a source (see `train_tokenizer`).

    Args:
        name: what `seit.tokenizers.load` opens.
        source: what `open_source` takes.
        size: side of the square view in pixels, where it shall not be the tokenizer's own.
        rfid: measure the Frechet distance, too; it needs the package torch-fidelity and its network's weights.
        sheet: a PNG file for originals beside reconstructions, twelve from the worst to the best PSNR.
        device: auto, cpu, cuda or mps.

    Returns:
        What `evaluate` returns, encode_images_per_s and decode_images_per_s (without reading pictures), and rfid
        and sheet where asked.

    Raises:
        TokenizerError: what the name opens cannot be measured so; see also `Frechet`.
        SeitError: `sheet` cannot be written.
    """
    opened = open_source(source)
    held = held_out(opened)[1] or list(opened)
    tokenizer = tokenizers.load(name, resolve(device))
    if size is not None:
        tokenizer.preprocessing = {**tokenizer.preprocessing, "size": size}
    if sheet is not None and Path(sheet).suffix != ".png":
        raise TokenizerError("is not a .png", str(sheet), "name it so")
    distance = Frechet(tokenizer) if rfid else None
    found = _measure(tokenizer, held, distance)
    result = {**_summary(found), **_speeds(found)}
    if distance is not None:
        result["rfid"] = round(distance.value(), 4)
    if sheet is not None:
        Path(sheet).parent.mkdir(parents=True, exist_ok=True)
        _draw(tokenizer, held, found, Path(sheet))
        result["sheet"] = str(sheet)
    return result


def evaluate(tokenizer: Tokenizer, images: Sequence[Image]) -> dict[str, Any]:
    """Measures reconstruction and use of codes on pictures at the side that suits them.

    Pictures smaller than the tokenizer's view are taken at their own side (rounded down to the patch), so that
    64-pixel pictures are not judged enlarged; a tokenizer of one size has them enlarged all the same.

    Returns:
        images, side (pixels, or [height, width]), psnr_db, ssim (both means over images), codes_used,
        entropy_bits (of the ids, zero order), perplexity (2 to that power: how many codes used alike would be as
        many).
    """
    return _summary(_measure(tokenizer, images, None))


def held_out(source: Source) -> tuple[list[Image], list[Image]]:
    """Splits a source into what is trained on and what is reported on."""
    images = list(source)
    held = images[source.splits["train"] :] or images[_HELD_OUT - 1 :: _HELD_OUT]
    names = {image.name for image in held}
    return [image for image in images if image.name not in names], held


class _Measured:
    """What one pass over pictures found."""

    def __init__(self, preprocessing: dict[str, Any], codes: int) -> None:
        self.preprocessing = preprocessing
        self.psnr: list[float] = []
        self.ssim: list[float] = []
        self.counts = torch.zeros(codes, dtype=torch.int64)
        self.encoding: list[tuple[int, float]] = []  # images, seconds
        self.decoding: list[tuple[int, float]] = []


@torch.inference_mode()
def _measure(tokenizer: Tokenizer, images: Sequence[Image], distance: Frechet | None) -> _Measured:
    """Reconstructs every picture."""
    found = _Measured(_view_of(tokenizer, images[0]), tokenizer.vocabulary)
    with progress(len(images), f"evaluate {tokenizer.name}", "images") as bar:
        for batch in _batches(tokenizer, images, found.preprocessing):
            ids, spent = _timed(tokenizer.encode, batch)
            found.encoding.append((len(batch), spent))
            decoded, spent = _timed(tokenizer.decode, ids)
            found.decoding.append((len(batch), spent))
            # Odd sides of a convolutional tokenizer come back rounded down to its patch.
            batch = batch[..., : decoded.shape[-2], : decoded.shape[-1]]
            found.psnr += psnr(batch, decoded).tolist()
            found.ssim += ssim(batch, decoded).tolist()
            found.counts += torch.bincount(ids.flatten().cpu(), minlength=len(found.counts))
            if distance is not None:
                distance.add(batch, decoded)
            bar.update(len(batch))
    return found


def _view_of(tokenizer: Tokenizer, first: Image) -> dict[str, Any]:
    """Returns the preprocessing for pictures such as the first: at their own side if that is smaller."""
    own = tokenizer.preprocessing
    if not isinstance(own["size"], int):
        return own
    picture = decode(first.read(), first.name, tokenizer.channels)
    side = min(own["size"], min(picture.size) // tokenizer.patch * tokenizer.patch)
    try:
        tokenizer.grid(side, side)
    except TokenizerError:  # positions for one size
        side = own["size"]
    return {**own, "size": side}


def _batches(tokenizer: Tokenizer, images: Sequence[Image], preprocessing: dict[str, Any]) -> Iterator[Tensor]:
    """Yields batches [B, C, H, W] in [0, 1] on the tokenizer's device."""
    size = preprocessing["size"]
    pixels = size * size if isinstance(size, int) else size[0] * size[1]
    step = max(1, _BATCH_PIXELS // pixels)
    for start in range(0, len(images), step):
        views = [_view(image, tokenizer, preprocessing) for image in images[start : start + step]]
        batch = torch.from_numpy(np.stack(views)).to(tokenizer.codebook.device)
        yield batch.permute(0, 3, 1, 2).float() / 255


def _view(image: Image, tokenizer: Tokenizer, preprocessing: dict[str, Any]) -> np.ndarray:
    return to_view(decode(image.read(), image.name, tokenizer.channels), preprocessing)


def _timed(work: Callable[[Tensor], Tensor], given: Tensor) -> tuple[Tensor, float]:
    """Returns what `work` makes, and its seconds on the device."""
    start = time.perf_counter()
    made = work(given)
    if given.device.type != "cpu":
        made.cpu()  # waits for the device
    return made, time.perf_counter() - start


def _summary(found: _Measured) -> dict[str, Any]:
    """Returns the measures that do not depend on the machine's speed."""
    share = found.counts[found.counts > 0] / found.counts.sum()
    entropy = -(share * share.log2()).sum().item()
    return {
        "images": len(found.psnr),
        "side": found.preprocessing["size"],
        "psnr_db": round(float(np.mean(found.psnr)), 3),
        "ssim": round(float(np.mean(found.ssim)), 4),
        "codes_used": int((found.counts > 0).sum()),
        "entropy_bits": round(entropy, 4),
        "perplexity": round(2**entropy, 2),
    }


def _speeds(found: _Measured) -> dict[str, float]:
    """Returns images per second, of all batches but the first, which warms up (unless it is the only one)."""
    speeds = {}
    for what, spent in (("encode", found.encoding), ("decode", found.decoding)):
        counted = spent[1:] or spent
        speeds[f"{what}_images_per_s"] = round(sum(n for n, _ in counted) / sum(s for _, s in counted), 2)
    return speeds


@torch.inference_mode()
def _draw(tokenizer: Tokenizer, images: Sequence[Image], found: _Measured, path: Path) -> None:
    """Writes the sheet: originals beside reconstructions, from the worst to the best."""
    order = np.argsort(found.psnr, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(_ON_SHEET, len(order))).round().astype(int)]
    tiles = []
    for place in chosen:
        (batch,) = _batches(tokenizer, [images[place]], found.preprocessing)
        decoded = (tokenizer.decode(tokenizer.encode(batch)) * 255).round().byte().cpu()
        original = (batch * 255).round().byte().cpu()
        pictures = tuple(picture[0].permute(1, 2, 0).numpy() for picture in (original, decoded))
        tiles.append(Tile(pictures, (images[place].name, f"{found.psnr[place]:.1f} dB")))
    title = f"{tokenizer.name}: from the worst to the best of {len(images)}"
    write_sheet(path, tiles, title, ("original", "reconstruction"), across=3)
