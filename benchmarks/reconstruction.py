"""What a tokenizer keeps of images, beside JPEG, WebP and AVIF at the same bytes.

    python benchmarks/reconstruction.py SOURCE --json [--quick] [--tokenizer patch8] [--sheet OUT.png]

A picture's budget is its own payload and offset in a token data set of SOURCE; what all pictures share (codebook,
tables) is left out on both sides (a JPEG's tables are not: its file needs them). JPEG, WebP and AVIF may shrink
the picture first, whichever side and quality gives the best PSNR within the budget, or their smallest file.
--quick: every fifth picture alone.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from PIL import Image

import seit
from seit.images import decode, open_source, to_view
from seit.report.pictures import Tile
from seit.report.sheets import write_sheet
from seit.store import TokenDataset
from seit.tokenizers.quality import psnr, ssim
from seit.verbs.show import decode_rows
from seit.verbs.tokenize import tokenizer_of

SIDES = (1.0, 0.75, 0.5, 0.375, 0.25)
FORMATS = {"JPEG": {"optimize": True}, "WEBP": {"method": 4}, "AVIF": {"speed": 6}}


def score(view: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """Returns (PSNR in dB, SSIM) of two pictures uint8 [H, W, 3]."""
    a, b = (torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None] / 255 for x in (view, decoded))
    return psnr(a, b).item(), ssim(a, b).item()


def rival(view: np.ndarray, kind: str, budget: int) -> tuple[int, np.ndarray]:
    """Returns (bytes, decoded) of the best file of at most `budget` bytes, or of the smallest one there is."""
    picture = Image.fromarray(view)
    fitting: list[tuple[float, int, np.ndarray]] = []
    smallest: tuple[int, np.ndarray] | None = None
    for scale in SIDES:
        size = max(8, round(picture.width * scale))
        shrunk = picture.resize((size, size), Image.Resampling.LANCZOS)
        low, high = 0, 95
        while low <= high:  # the largest quality within the budget
            quality = (low + high) // 2
            buffer = io.BytesIO()
            shrunk.save(buffer, kind, quality=quality, **FORMATS[kind])
            data = buffer.getvalue()
            if smallest is None or len(data) <= budget or len(data) < smallest[0]:
                enlarged = (
                    Image.open(io.BytesIO(data)).convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)
                )
                pixels = np.asarray(enlarged)
                if smallest is None or len(data) < smallest[0]:
                    smallest = (len(data), pixels)
                if len(data) <= budget:
                    fitting.append((score(view, pixels)[0], len(data), pixels))
            low, high = (quality + 1, high) if len(data) <= budget else (low, quality - 1)
    if fitting:
        best = max(fitting, key=lambda one: one[0])
        return best[1], best[2]
    assert smallest is not None
    return smallest


def main() -> None:
    """Prints one JSON document, and draws the pictures."""
    parser = harness.parser(__doc__, "every fifth picture alone")
    parser.add_argument("source")
    parser.add_argument("--tokenizer", default="patch8", help="a bundled name or a file")
    parser.add_argument("--sheet", type=Path, help="a PNG of the pictures")
    parser.add_argument("--pictures", type=int, default=4, help="how many on the sheet, the first by name")
    harness.run(__file__, parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Returns mean bytes, PSNR and SSIM of the ids and of every rival."""
    source = open_source(options.source)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tokens"
        seit.tokenize(options.source, out, tokenizer=options.tokenizer, size=256)
        dataset = TokenDataset(out)
        rows = np.arange(len(dataset))[4::5] if options.quick else np.arange(len(dataset))
        decoded = decode_rows(dataset, tokenizer_of(dataset), rows)
        budgets = dataset.bytes_at(rows) + 4
        names, preprocessing = dataset.names(rows), dataset.tokenizer["preprocessing"]
        codec = "/".join(sorted({c.name for c in dataset.manifest.codecs}))
    places = {name: i for i, name in enumerate(source.names)}
    figures: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in ("ids", *FORMATS)}
    tiles = []
    for name, picture, budget in zip(names, decoded, budgets.tolist(), strict=True):
        view = to_view(decode(source[places[name]].read(), name), preprocessing)
        pictures = {"ids": (budget, picture)} | {kind: rival(view, kind, budget) for kind in FORMATS}
        for kind, (size, pixels) in pictures.items():
            figures[kind].append((size, *score(view, pixels)))
        sizes = ", ".join(f"{kind} {size} B" for kind, (size, _) in pictures.items())
        tiles.append(Tile((view, *(pixels for _, pixels in pictures.values())), (name, sizes)))
    if options.sheet:
        title = f"{options.tokenizer} and rivals at the same bytes"
        write_sheet(options.sheet, tiles[: options.pictures], title, ("original", "ids", *FORMATS), across=1)
    means = {kind: np.mean(values, 0).tolist() for kind, values in figures.items()}
    table = {kind: {"bytes": b, "psnr_db": p, "ssim": s} for kind, (b, p, s) in means.items()}
    return {"images": len(rows), "codec": codec, **table}


if __name__ == "__main__":
    main()
