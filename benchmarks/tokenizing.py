"""Times `seit tokenize` against its parts: is the encoder ever starved, and is anything lost around decoding?

    python benchmarks/tokenizing.py --json [--quick] [--device cuda]

Throughputs as ratios, each the median of interleaved pairs on the same images, with quartiles:

- end_to_end_over_encoder: the job (decode, resize, hash, encode, stage) over the bare encoder on the same batches,
  decoded before; ViT-VQGAN small with random weights at 256 pixels. On a CPU both share the cores.
- end_to_end_over_device: the same job with an encoder that only waits, a quarter longer than decoding takes, as a
  GPU would that does not share the cores, over that waiting alone. Not with --quick: so few batches are over before
  the first decoded one has been paid for.
- end_to_end_over_image_io: the job with an encoder that costs nothing over bare decode + resize + hash in as many
  processes, started before the clock on both sides.
- search_share_of_encoder: see search_share.py.

Images are the package's photos (mean 119 kB), copied until there are enough. --quick takes fewer, about a minute on
two free cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import search_share
import torch

from seit.device import keep_memory
from seit.images import Preparation, Source, Views, open_source, prepare
from seit.images.prepare import Facts
from seit.progress import quiet
from seit.store import TokenWriter
from seit.tokenizers.vit_vqgan import SIZES, ViTVQGAN
from seit.tokenizing import local
from seit.tokenizing.decoders import Decoders, cores
from seit.tokenizing.encoding import Encoder
from seit.tokenizing.plan import Plan

PREPROCESSING = {"size": 256, "resize": "squash", "interpolation": "bicubic"}
HOW = Preparation(PREPROCESSING, Views())


class Waiting:
    """An encoder that takes `seconds` a batch and no core."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._ids, self._until = seconds, torch.zeros(1, 32, 32, dtype=torch.int64), 0.0

    def start(self, views: np.ndarray) -> Waiting:
        """Begins a batch when the last has ended, as a device's queue does."""
        self._ids = torch.zeros(len(views), 32, 32, dtype=torch.int64)
        self._until = max(self._until, time.perf_counter()) + self.seconds
        return _Pending(self._ids, self._until) if self.seconds else self._ids


class _Pending:
    def __init__(self, ids: torch.Tensor, until: float) -> None:
        self.ids, self.until = ids, until

    def cpu(self) -> torch.Tensor:
        """Waits for the batch."""
        time.sleep(max(0.0, self.until - time.perf_counter()))
        return self.ids


def main() -> None:
    """Prints one JSON document."""
    parser = harness.parser(__doc__, "fewer images, about a minute", device=True)
    parser.add_argument("--pairs", type=int, default=10, help="rounds of every ratio")
    parser.add_argument("--workers", type=int, default=cores(), help="decode processes")
    harness.run(__file__, parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measures the job against its parts."""
    quiet()
    quick, device, pairs, workers = options.quick, options.device, options.pairs, options.workers
    fast = device != "cpu"
    few = (512 if fast else 2) if quick else (4096 if fast else 32)
    many = (48 if quick else 840) * (4 if fast else 1)
    with tempfile.TemporaryDirectory() as folder:
        encoder = over_encoder(Path(folder), few, pairs, workers, device)
        image_io = over_image_io(Path(folder), many, pairs, workers, not quick)
    return {**encoder, **image_io, **search_share.measure(options), "workers": workers}


def over_encoder(folder: Path, images: int, pairs: int, workers: int, device: str) -> dict[str, Any]:
    """Measures the job against the bare encoder."""
    source = photos(folder / f"encoder-{images}", images)
    torch.manual_seed(0)
    tokenizer = ViTVQGAN(**SIZES["small"], preprocessing=PREPROCESSING, name="random").eval().to(device)
    encoder = Encoder(tokenizer.requires_grad_(False))
    plan = Plan(source, HOW, {}, min(16, max(1, images // 2)))
    decoded = [np.zeros((plan.batch, *HOW.shape), np.uint8) for shard in plan.shards for _ in plan.batches(shard)]
    every = [batch for shard in plan.shards for batch in plan.batches(shard)]
    for views, batch in zip(decoded, every, strict=True):
        prepare(batch, HOW, views)

    def bare() -> None:
        for views in decoded:
            encoder.ids(views)

    # Below the number from which on the job takes processes, it takes threads.
    with Decoders(HOW, plan.batch, workers if device != "cpu" else 0) as decoders:
        result = compared("end_to_end_over_encoder", bare, lambda: job(folder, plan, encoder, decoders), pairs)
    return {**result, "encoder_images_per_s": images / result.pop("bare_s")}


def over_image_io(folder: Path, images: int, pairs: int, workers: int, device: bool) -> dict[str, Any]:
    """Measures the job with encoders that take no core against bare decoding; with `device` also one that waits."""
    source = photos(folder / f"io-{images}", images)
    plan = Plan(source, HOW, {})
    spans = [range(first, min(first + 8, images)) for first in range(0, images, 8)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _open, [source.name]) as pool, Decoders(HOW, plan.batch, workers) as decoders:
        cpu = []

        def bare() -> None:
            cpu.append(sum(pool.imap_unordered(_decode, spans)))

        def free(seconds: float = 0.0) -> None:
            job(folder, plan, Waiting(seconds), decoders)

        free()
        result = compared("end_to_end_over_image_io", bare, free, pairs)
        seconds = result.pop("bare_s")
        result["image_io_images_per_s"] = images / seconds
        result["image_io_cpu_ms_per_image"] = round(1000 * statistics.median(cpu) / images, 2)
        if device:
            whole = 1.25 * seconds
            batches = sum(-(-len(shard.images) // plan.batch) for shard in plan.shards)
            waiting, job_of_it = lambda: time.sleep(whole), lambda: free(whole / batches)
            result |= compared("end_to_end_over_device", waiting, job_of_it, pairs)
            del result["bare_s"]
    return result


def job(folder: Path, plan: Plan, encoder: Any, decoders: Decoders) -> None:
    """Runs a plan to its last staged shard, as the verb does."""
    out = folder / "out"
    writer = TokenWriter(
        out,
        tokenizer={"name": "random", "identity": "0"},
        codebook=None,
        vocabulary=8192,
        grid=(32, 32),
        classes=[],
        source={"name": "photos"},
        plan=plan.hash,
    )
    for shard, staged in local.run(plan, plan.shards, encoder, decoders, lambda found: None):
        writer.write(shard.number, shard.split, staged.ids, staged.labels, staged.rows)
    shutil.rmtree(writer.partial)


def compared(name: str, bare: Callable[[], None], whole: Callable[[], None], pairs: int) -> dict[str, Any]:
    """Returns the speed of the whole over that of the bare work under a name, its spread, and bare seconds."""
    timed = harness.in_turns({"bare": (bare, 1), "whole": (whole, 1)}, "bare", 0, pairs)
    spread = {"quartiles": timed["whole"]["quartiles"], "pairs": pairs}
    return {name: timed["whole"]["of_bare"], f"{name}_spread": spread, "bare_s": 1 / timed["bare"]["per_s"]}


def photos(folder: Path, count: int) -> Source:
    """Copies the package's photos until there are `count`."""
    folder.mkdir()
    data = [image.read() for image in open_source("photos")]
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(data[number % len(data)])
    return open_source(folder)


_source: Source | None = None


def _open(path: str) -> None:
    """Lists the images once in a bare worker."""
    global _source
    keep_memory()  # as the job's decode processes do
    _source = open_source(path)


def _decode(span: range) -> float:
    """Decodes, resizes and hashes some images; returns the seconds that it kept a core busy."""
    assert _source is not None
    start = time.process_time()
    views = np.empty((len(span), *HOW.shape), np.uint8)
    assert all(isinstance(one, Facts) for one in prepare([_source[i] for i in span], HOW, views))
    return time.process_time() - start


if __name__ == "__main__":
    main()
