"""How much of encoding is the search for the nearest code: search time over encoder time, at published sizes.

    python benchmarks/search_share.py --json [--quick]

Weights are random (neither time depends on them), views are of 256 pixels. Encoder and the search on its features
take turns; shares are medians of the rounds' ratios, with their quartiles. --quick: only the two tokenizers with
the largest shares, a picture at a time, three rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import harness
import torch

from seit.tokenizers.base import Tokenizer
from seit.tokenizers.vit_vqgan import SIZES, ViTVQGAN
from seit.tokenizers.vqgan import VQGAN

SIDE = 256
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "vit-vqgan small, 8192 codes": lambda: ViTVQGAN(**SIZES["small"]),
    "vit-vqgan base, 8192 codes": lambda: ViTVQGAN(**SIZES["base"]),
    "vqgan f8, 256 codes": lambda: VQGAN(),
    "vqgan f16, 16384 codes": lambda: VQGAN(
        widths=(128, 128, 256, 256, 512), attention=(4,), z=256, code_dim=256, codes=16384
    ),
}
QUICK = ("vit-vqgan small, 8192 codes", "vqgan f16, 16384 codes")  # the least encoder for their codes


def main() -> None:
    """Prints one JSON document."""
    harness.run(__file__, harness.parser(__doc__, "half a minute", device=True).parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times every tokenizer, or `QUICK`; `search_share_of_encoder` is the largest of their median shares."""
    rounds, batch = (3, 1) if options.quick else (11, 2)
    chosen = QUICK if options.quick else tuple(TOKENIZERS)
    shares = {name: _share(TOKENIZERS[name], rounds, batch, options.device) for name in chosen}
    return {"search_share_of_encoder": max(one["share"] for one in shares.values()), "tokenizers": shares}


@torch.inference_mode()
def _share(make: Callable[[], Tokenizer], rounds: int, batch: int, device: str) -> dict[str, Any]:
    """Returns the median share of one tokenizer and its quartiles, and the median seconds of encoder and search."""
    torch.manual_seed(0)
    tokenizer = make().eval().to(device)
    images = torch.rand(batch, 3, SIDE, SIDE, device=device)
    features = tokenizer.features(images)
    works = {"encoder": lambda: tokenizer.features(images), "search": lambda: tokenizer.search(features)}
    timed = harness.in_turns(
        {name: (harness.waited(device, work), 1) for name, work in works.items()}, "encoder", 0, rounds
    )
    search = timed["search"]
    return {
        "share": 1 / search["of_encoder"],
        "quartiles": [1 / ratio for ratio in reversed(search["quartiles"])],
        "rounds": rounds,
        "batch": batch,
        "encoder_s": 1 / timed["encoder"]["per_s"],
        "search_s": 1 / search["per_s"],
    }


if __name__ == "__main__":
    main()
