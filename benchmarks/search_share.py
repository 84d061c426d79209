"""How much of encoding is the search for the nearest code: search time over encoder time, at published sizes.

    python benchmarks/search_share.py --json [--quick]

Weights are random (neither time depends on them), views are of 256 pixels. --quick: only the two with the largest
shares, a picture at a time, three pairs. A pair is the encoder and then the search
on its features, so that both see the same machine; shares are medians of the pairs' ratios, with their quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from seit.device import machine, resolve
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


def measure(quick: bool, device: str = "cpu") -> dict[str, Any]:
    """Times every tokenizer; `search_share_of_encoder` is the largest of their medians.

    Args:
        quick: three pairs of one picture instead of eleven of two, and only `QUICK`.
        device: where to run.

    Returns:
        search_share_of_encoder, and for each tokenizer the median share, its quartiles, pairs, batch, and the
        median seconds of encoder and search.
    """
    pairs, batch = (3, 1) if quick else (11, 2)
    chosen = QUICK if quick else tuple(TOKENIZERS)
    found = {name: _share(TOKENIZERS[name], pairs, batch, device) for name in chosen}
    worst = max(result["share"] for result in found.values())
    return {"search_share_of_encoder": worst, "tokenizers": found}


@torch.inference_mode()
def _share(make: Callable[[], Tokenizer], pairs: int, batch: int, device: str) -> dict[str, Any]:
    """Returns the figures of one tokenizer."""
    torch.manual_seed(0)
    tokenizer = make().eval().to(device)
    images = torch.rand(batch, 3, SIDE, SIDE, device=device)
    encoder, search = [], []
    for number in range(pairs + 1):
        spent, features = _timed(lambda: tokenizer.features(images), device)
        spent_searching, _ = _timed(lambda: tokenizer.search(features), device)  # noqa: B023
        if number:  # the first pair warms up
            encoder.append(spent)
            search.append(spent_searching)
    shares = [b / a for a, b in zip(encoder, search, strict=True)]
    low, middle, high = statistics.quantiles(shares, n=4, method="inclusive")
    return {
        "share": middle,
        "quartiles": [low, high],
        "pairs": pairs,
        "batch": batch,
        "encoder_s": statistics.median(encoder),
        "search_s": statistics.median(search),
    }


def _timed(work: Callable[[], torch.Tensor], device: str) -> tuple[float, torch.Tensor]:
    """Returns the seconds that `work` takes, and its result."""
    start = time.perf_counter()
    result = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    options = parser.parse_args()
    device = resolve(options.device)
    result = {"schema": 1, "quick": options.quick, **measure(options.quick, device), "machine": machine(device)}
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
