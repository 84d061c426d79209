"""Measures what Emb-Noise leaves of pictures, by its standard deviation and the unit that it is counted in.

    python benchmarks/noise.py --json [--quick]

The embedded photos' ids are looked up, noise is added to every row, and the decoded picture is compared with the
decoded one without noise. Two units: "rms", one for all channels, the codebook's root mean square entry; and
"channel", each channel's own, which `seit.augment` does not offer because this shows no need of it.
"""

from __future__ import annotations

import argparse
from typing import Any

import harness
import numpy as np
import torch

from seit import tokenizers
from seit.augment import Draws
from seit.augment.noise import Noise
from seit.images import decode, open_source, to_view

STDS = (1.0, 0.5, 0.25, 0.1)


def main() -> None:
    """Prints one JSON document."""
    parser = harness.parser(__doc__, "three photos instead of all")
    parser.add_argument("--tokenizer", default="patch8", help="a bundled name or a file")
    harness.run(__file__, parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of one tokenizer."""
    tokenizer = tokenizers.load(options.tokenizer)
    with torch.inference_mode():
        return {"tokenizer": options.tokenizer, **measured(tokenizer, 3 if options.quick else 100)}


def measured(tokenizer: tokenizers.Tokenizer, most: int) -> dict[str, Any]:
    """Returns the mean PSNR in dB of the decoded pictures for each unit and standard deviation."""
    photos = list(open_source("photos"))[:most]
    views = np.stack([to_view(decode(photo.read(), photo.name), tokenizer.preprocessing) for photo in photos])
    table = tokenizer.codebook
    ids = torch.cat([tokenizer.encode(one[None]) for one in torch.from_numpy(views).permute(0, 3, 1, 2) / 255])
    vectors = table[ids].movedim(-1, 1)  # [B, d, h, w]
    clean = decoded(tokenizer, vectors)
    channel, full = Noise().numbers(Draws(0, 0, torch.arange(len(ids)), len(ids)), tuple(vectors.shape[1:]))
    noise = full.movedim(-1, 1) + channel[:, :, None, None]
    units = {"rms": table.square().mean().sqrt(), "channel": table.square().mean(0).sqrt()[:, None, None]}
    spread = vectors.std((0, 2, 3))
    figures: dict[str, Any] = {
        "photos": len(ids),
        "rms_entry": round(float(units["rms"]), 4),
        "channel_spread": [round(float(spread.min()), 3), round(float(spread.max()), 3)],
    }
    for name, unit in units.items():
        for std in STDS:
            error = (decoded(tokenizer, vectors + std * unit * noise) - clean).square().mean((1, 2, 3))
            figures[f"psnr_db_{name}_{std:g}"] = round(float((-10 * error.log10()).mean()), 1)
    return figures


def decoded(tokenizer: tokenizers.Tokenizer, vectors: torch.Tensor) -> torch.Tensor:
    """Returns the pictures [B, 3, H, W] of vectors, one by one, which keeps a large decoder small."""
    return torch.cat([tokenizer.decode_vectors(row[None]).clamp(0, 1) for row in vectors])


if __name__ == "__main__":
    main()
