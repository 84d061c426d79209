"""Times the way from stored bytes to the model's input batch, tokens beside pixels, on one core.

    python benchmarks/input.py --json [--quick] [--device cuda]

A store of 1024 rows of 32 x 32 ids over 391 codes x 32 dims is written, read back and augmented as `token-in1k`:
Token-EDA, Token-RRC to 28 x 28, CutMix, Emb-Noise with p = 0.5. Beside it the same by one-hot tensors, one row at a
time, as is usual; the same with a table that learns, where PyTorch crops and adds noise instead of the compiled
kernels (`token_torch_ms_per_image`: forward alone, with what autograd notes down); and pixels: JPEG decode,
RandomResizedCrop 224, flip, RandAugment 9 / 0.5, normalisation, with timm and Pillow on the embedded photos at
ImageNet's mean size. On a CPU the clock is the process's CPU time on its one thread, the best of several passes,
since machines are shared; on a GPU it is the wall's.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from seit import recipes
from seit.augment import Draws, Pipeline, synonyms
from seit.images import decode, open_source
from seit.store import RowTable, TokenDataset, TokenWriter

ROWS, CODES, WIDTH, GRID, CROP, CLASSES = 1024, 391, 32, 32, 28, 1000
CHUNK = 65_536  # rows staged at a time


def main() -> None:
    """Prints one JSON document."""
    options = harness.parser(__doc__, "fewer passes, under a minute", device=True).parse_args()
    harness.run(__file__, options, measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Returns milliseconds an image of each way."""
    passes, device = 3 if options.quick else 10, options.device
    with tempfile.TemporaryDirectory() as folder, harness.one_core(), torch.inference_mode():
        data = write_store(Path(folder) / "tokens")
        return {
            "token_ms_per_image": token_ms(data, ROWS, passes, device),
            "token_ms_per_image_batch16": token_ms(data, 16, passes, device),
            "token_torch_ms_per_image": token_ms(data, ROWS, passes, device, learned=True),
            "decode_ms_per_image": best(lambda: data.ids(order(0)), passes) / ROWS,
            "naive_ms_per_image": naive_ms(data, 8 if options.quick else 64),
            "pixel_ms_per_image": pixel_ms(28 if options.quick else 140),
            "device": device,
            "clock": "cpu time" if device == "cpu" else "wall",
            "threads": 1,
            "passes": passes,
        }


def best(work: Callable[[], object], passes: int, device: str = "cpu") -> float:
    """Returns the milliseconds of the fastest of `passes` calls, after one that warms up."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    work()
    times = []
    for _ in range(passes):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times) * 1000


def order(seed: int) -> np.ndarray:
    """Returns the rows in a random order."""
    return np.random.default_rng(seed).permutation(ROWS)


def write_store(path: Path, rows: int = ROWS) -> TokenDataset:
    """Writes rows of random ids, the rarer the higher, as one token data set; beyond 1024 they are drawn again."""
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.random((ROWS, GRID, GRID)) * rng.random((ROWS, GRID, GRID)) * CODES, CODES - 1)
    ids = ids.astype(np.int64)
    ids[:, 0, 0] = np.arange(ROWS) % CODES  # every code occurs, so that none is pruned
    tokenizer = {"name": "random", "identity": "0" * 64, "provenance": {}, "preprocessing": {"size": 256}}
    writer = TokenWriter(
        path,
        tokenizer=tokenizer,
        codebook=rng.standard_normal((CODES, WIDTH)).astype(np.float32),
        grid=(GRID, GRID),
        classes=[f"class {i}" for i in range(CLASSES)],
        source={"name": "random", "split_rule": "folders", "terms": "none"},
        plan="benchmark",
        codec="zero-order",
    )
    for number, first in enumerate(range(0, rows, CHUNK)):
        count = min(CHUNK, rows - first)
        chosen = np.arange(ROWS) if rows == ROWS else rng.integers(0, ROWS, count)
        sizes, names = np.full(count, 1), [f"train/{first + i:07d}.jpg" for i in range(count)]
        table = RowTable(names, sizes, sizes, np.arange(count), sizes, sizes)
        writer.write(number, "train", ids[chosen], rng.integers(0, CLASSES, count), table)
    return TokenDataset(writer.commit())


@torch.inference_mode(False)
def token_ms(data: TokenDataset, batch: int, passes: int, device: str, learned: bool = False) -> float:
    """Times our way: decoded ids cross to the device, everything else happens there."""
    table = torch.from_numpy(np.array(data.codebook)).to(device).requires_grad_(learned)
    recipe = recipes.load("token-in1k")
    augment = Pipeline(recipe.augment, (GRID, GRID), (CROP, CROP), CLASSES, codebook=table)
    places = order(1)

    def one_pass() -> None:
        for at in range(0, ROWS, batch):
            ids, labels = data.batch(places[at : at + batch])
            draws = Draws(0, 0, torch.arange(at, at + len(ids)), batch, device)
            augment(torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device), table, draws)
        if device != "cpu":
            torch.cuda.synchronize()

    return best(one_pass, passes, device) / ROWS


def naive_ms(data: TokenDataset, rows: int) -> float:
    """Times the usual way: Python loops over ids, one-hot tensors, one row at a time."""
    table = torch.from_numpy(np.array(data.codebook))
    near = synonyms(table).tolist()
    ids, labels = data.batch(np.arange(rows))

    def one_pass() -> None:
        made = [naive_row(torch.from_numpy(one.astype(np.int64)), table, near) for one in ids]
        vectors, targets = torch.stack(made), F.one_hot(torch.from_numpy(labels), CLASSES) * 0.9 + 0.1 / CLASSES
        noisy = torch.randperm(rows)[: rows // 2]
        vectors[noisy] += torch.randn(len(noisy), WIDTH, 1, 1) + torch.randn(len(noisy), WIDTH, CROP, CROP)
        lam = random.random()
        side = int(CROP * (1 - lam) ** 0.5) // 2 * 2
        top, left = random.randint(0, CROP - side), random.randint(0, CROP - side)
        box = (..., slice(top, top + side), slice(left, left + side))
        vectors[box] = vectors.flip(0)[box]
        targets * lam + targets.flip(0) * (1 - lam)

    return best(one_pass, 2) / rows


def naive_row(ids: torch.Tensor, table: torch.Tensor, near: list[list[int]]) -> torch.Tensor:
    """Maps ids [32, 32] to vectors [32, 28, 28] by way of 391 x 32 x 32 one-hot numbers."""
    flat = [random.choice(near[i]) if random.random() < 0.25 else i for i in ids.flatten().tolist()]
    grid = torch.tensor(flat).view(GRID, GRID)
    if random.random() < 0.25:
        side = random.randint(1, 7)
        y, x, v, u = random.randint(0, 8), random.randint(0, 24), random.randint(16, 24), random.randint(0, 24)
        one, other = (slice(y, y + side), slice(x, x + side)), (slice(v, v + side), slice(u, u + side))
        grid[one], grid[other] = grid[other].clone(), grid[one].clone()
    soft = F.one_hot(grid, len(table)).permute(2, 0, 1).float()
    share = (0.08 + 0.92 * random.random()) ** 0.5
    height = width = max(1, round(GRID * share))
    top, left = random.randint(0, GRID - height), random.randint(0, GRID - width)
    soft = F.interpolate(
        soft[None, :, top : top + height, left : left + width], (CROP, CROP), mode="bicubic", align_corners=False
    )[0]
    return torch.einsum("kyx,kd->dyx", soft, table)


def jpegs() -> list[bytes]:
    """Returns the embedded photos as JPEG files of ImageNet's mean size, 469 x 387 pixels."""
    files = []
    for image in open_source("photos"):
        picture = decode(image.read(), image.name).resize((469, 387), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    return files


def pixel_ms(images: int) -> float:
    """Times pixels: JPEG decode, RandomResizedCrop to 224, flip, RandAugment 9 / 0.5, normalisation."""
    files = jpegs()
    # mmax9: timm rounds a magnitude above 10 to a posterisation of 0 bits, which Pillow 12 refuses.
    transform = timm.data.create_transform(
        224, is_training=True, auto_augment="rand-m9-mstd0.5-mmax9-inc1", interpolation="bicubic"
    )

    def one_pass() -> None:
        for i in range(images):
            transform(Image.open(io.BytesIO(files[i % len(files)])).convert("RGB"))

    return best(one_pass, 2) / images


if __name__ == "__main__":
    main()
