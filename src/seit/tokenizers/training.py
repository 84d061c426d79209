"""Trains a tokenizer: the command that made the bundled ones, and the same for a VQGAN or ViT-VQGAN of one's own.

Start: the conv family's linear paths are the patches' principal components, and its codes their k-means; the others
learn to reconstruct without codes in the first tenth of the steps, and then take the k-means of their features.
Then, for all: straight-through VQ with moving-average codes, squared error plus gradient differences at three
scales, AdamW, cosine. There is no adversarial or perceptual loss. A step's crops and draws depend on (seed, step)
alone, so an interrupted training goes on from its snapshot as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seit import checkpoint
from seit.device import keep_memory
from seit.errors import TokenizerError
from seit.progress import progress
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.recipe import FAMILIES, TokenizerRecipe, sides_of, untrained
from seit.tokenizers.search import euclidean

_SNAPSHOT_SECONDS = 120
_GRADIENT_WEIGHT = 0.05
_COMMITMENT = 0.25
_CODE_DECAY = 0.99
_DEAD_SHARE = 0.1  # of the mean count; codes below it are moved


_WARM_SHARE = 0.1  # of the steps, without codes, where there is no linear start
_START = 1 << 40  # the step whose crops the start is made from


class Crops(Protocol):
    """What pictures are drawn from: a `Pyramid`, or anything of one's own."""

    def crops(self, seed: int, step: int, side: int, count: int) -> np.ndarray:
        """Returns [count, side, side, C] uint8, a function of its arguments alone."""


def train(
    recipe: TokenizerRecipe,
    pictures: Crops,
    snapshot: str | os.PathLike[str],
    *,
    name: str,
    size: int,
    device: str = "cpu",
) -> Tokenizer:
    """Trains a tokenizer, or goes on with the training that `snapshot` holds.

    Args:
        recipe: what to train.
        pictures: what its crops are drawn from.
        snapshot: a file written every two minutes; the caller removes it when the result is saved.
        name: the tokenizer's name.
        size: side of the square view that its preprocessing makes, pixels.
        device: where to train.

    Raises:
        TokenizerError: the recipe's sizes do not fit, the loss is not finite, or the snapshot is of another
            recipe.
    """
    keep_memory()
    torch.manual_seed(recipe.seed)
    tokenizer = untrained(recipe, size, name)
    tokenizer.to(torch.device(device)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _State(tokenizer, recipe, size)
    if Path(snapshot).exists():
        state.restore(snapshot)
    elif isinstance(tokenizer, ConvTokenizer):
        _start_linear(tokenizer, pictures, recipe, state.sides)
    saved = time.monotonic()
    with progress(recipe.steps, f"train {name}", "steps", done=state.step) as bar:
        while state.step < recipe.steps:
            note = _step(state, pictures)
            bar.update(1, note)
            if time.monotonic() - saved > _SNAPSHOT_SECONDS:
                state.snapshot(snapshot)
                saved = time.monotonic()
    return tokenizer.eval()


class _State:
    """Everything that changes from step to step."""

    def __init__(self, tokenizer: Tokenizer, recipe: TokenizerRecipe, size: int) -> None:
        self.tokenizer, self.recipe, self.step = tokenizer, recipe, 0
        self.sides = sides_of(recipe, size)
        self.peak = recipe.learning_rate or FAMILIES[recipe.family].learning_rate
        self.first = 0 if recipe.family == "conv" else int(_WARM_SHARE * recipe.steps)  # step with codes
        self.optimizer = torch.optim.AdamW(
            tokenizer.parameters(), lr=self.peak, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.counts = torch.ones(recipe.codes)
        self.sums = torch.zeros(recipe.codes, recipe.code_dim)
        self.mean_norm = torch.zeros(())

    def learning_rate(self) -> float:
        """Returns the step's learning rate: 100 warm-up steps (a tenth of fewer than 1000), cosine to 2%."""
        warm = min(1.0, (self.step + 1) / max(1, min(100, self.recipe.steps // 10)))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return self.peak * warm * (0.02 + 0.98 * cosine)

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes the state whole, atomically."""
        extra = {"counts": self.counts, "sums": self.sums, "mean_norm": self.mean_norm}
        checkpoint.save(
            path, self.tokenizer, self.optimizer, {"recipe": _plain(self.recipe), "step": self.step}, extra
        )

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Reads what `snapshot` wrote."""
        if checkpoint.read_about(path)["recipe"] != _plain(self.recipe):
            raise TokenizerError(
                "was left by a training with other settings", str(path), "remove it or repeat those settings"
            )
        about, extra = checkpoint.restore(path, self.tokenizer, self.optimizer)
        self.counts, self.sums, self.mean_norm = extra["counts"], extra["sums"], extra["mean_norm"]
        self.step = about["step"]


def _plain(recipe: TokenizerRecipe) -> dict[str, Any]:
    """Returns the recipe as JSON would give it back."""
    return json.loads(json.dumps(asdict(recipe)))


def _step(state: _State, pictures: Crops) -> str:
    """Makes one optimizer step and moves the codes; returns a note for the progress line."""
    recipe, tokenizer = state.recipe, state.tokenizer
    if state.step == state.first > 0:
        _start_codes(state, pictures)
    side = state.sides[state.step % len(state.sides)]
    images = _drawn(state, pictures, state.step, side, max(1, recipe.pixels // side**2))
    for group in state.optimizer.param_groups:
        group["lr"] = state.learning_rate()
    features = _features(state, images)
    ids, vectors = tokenizer.quantize(features) if state.step >= state.first else (None, features)
    commitment = (features - vectors).square().mean()
    passed = features + (vectors - features).detach()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bf16):
        decoded = tokenizer.decode_vectors(passed)
    decoded = decoded.float()
    error = (decoded - images).square().mean()
    # Factors of 4 and 2 put the losses in [-1, 1] units, where the weights were chosen.
    loss = 4 * error + 2 * _GRADIENT_WEIGHT * _gradient_difference(decoded, images) + _COMMITMENT * commitment
    if not torch.isfinite(loss):
        raise TokenizerError(f"the loss became {loss.item()} at step {state.step}", cure="lower the learning rate")
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # Twice the running mean: a fixed bound either never binds or always does as gradients shrink.
    bound = 2 * state.mean_norm.item() if state.step else 1e9
    norm = torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), bound).cpu()
    clipped = min(norm.item(), bound)
    state.mean_norm = 0.99 * state.mean_norm + 0.01 * clipped if state.step else norm
    state.optimizer.step()
    if ids is not None:
        _move_codes(state, features.detach(), ids)
    state.step += 1
    return f"psnr {-10 * math.log10(error.item() + 1e-12):.2f} dB, {(state.counts > 1).sum().item()} codes"


def _drawn(state: _State, pictures: Crops, step: int, side: int, count: int) -> Tensor:
    """Returns a step's images [count, C, side, side] in [0, 1]."""
    crops = pictures.crops(state.recipe.seed, step, side, count)
    if crops.shape != (count, side, side, state.recipe.channels):
        raise TokenizerError(f"crops are {list(crops.shape)}", cure=f"give {state.recipe.channels} channels")
    return torch.from_numpy(crops).to(state.tokenizer.codebook.device).permute(0, 3, 1, 2).float().div_(255)


def _features(state: _State, images: Tensor) -> Tensor:
    """Returns what is compared with codes, [B, d, h, w] float32: features, of norm 1 where codes are directions."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=state.recipe.bf16):
        features = state.tokenizer.features(images)
    return F.normalize(features.float(), dim=1) if state.tokenizer.unit_codes else features.float()


def _gradient_difference(decoded: Tensor, images: Tensor) -> Tensor:
    """Returns the mean absolute difference of horizontal and vertical gradients, summed over three scales."""
    total = decoded.new_zeros(())
    difference = decoded - images
    for scale in range(3):
        if scale:
            difference = F.avg_pool2d(difference, 2)
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return total


@torch.no_grad()
def _move_codes(state: _State, features: Tensor, ids: Tensor) -> None:
    """Updates codes as moving averages of their features; moves dead ones to badly served features."""
    recipe, codebook = state.recipe, state.tokenizer.codebook
    flat = features.movedim(1, -1).reshape(-1, recipe.code_dim).cpu()
    index = ids.flatten().cpu()
    # Rescaled to 2048 vectors a step, so that the decay means the same for every crop side.
    share = 2048 / len(flat)
    counts = torch.bincount(index, minlength=recipe.codes).float() * share
    sums = torch.zeros_like(state.sums).index_add_(0, index, flat) * share
    if state.step == state.first:
        state.counts, state.sums = counts + 1, codebook.cpu() + sums
    state.counts = _CODE_DECAY * state.counts + (1 - _CODE_DECAY) * counts
    state.sums = _CODE_DECAY * state.sums + (1 - _CODE_DECAY) * sums
    dead = state.counts < _DEAD_SHARE * 2048 / recipe.codes
    if state.step % 40 == 39 and state.step < 0.7 * recipe.steps and dead.any():
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + state.step)
        served = codebook.cpu()[index]
        chosen = torch.multinomial((flat - served).square().sum(1), int(dead.sum()), generator=generator)
        state.counts[dead] = 1.0
        state.sums[dead] = flat[chosen]
    codebook.copy_(state.sums / state.counts.clamp_min(1e-6)[:, None])
    if state.tokenizer.unit_codes:
        codebook.copy_(F.normalize(codebook))


@torch.no_grad()
def _start_codes(state: _State, pictures: Crops) -> None:
    """Sets the codebook to k-means of the features that the encoder has by now."""
    recipe, side = state.recipe, min(state.sides)
    cells = max(1024, 16 * recipe.codes)
    count = -(-cells * recipe.patch**2 // side**2)
    batch = max(1, recipe.pixels // side**2)
    images = _drawn(state, pictures, _START, side, count)
    points = torch.cat([_features(state, part).movedim(1, -1).flatten(0, 2).cpu() for part in images.split(batch)])
    state.tokenizer.codebook.copy_(_kmeans(points, recipe.codes, recipe.seed))
    if state.tokenizer.unit_codes:
        state.tokenizer.codebook.copy_(F.normalize(state.tokenizer.codebook))


@torch.no_grad()
def _start_linear(
    tokenizer: ConvTokenizer, pictures: Crops, recipe: TokenizerRecipe, sides: tuple[int, ...]
) -> None:
    """Sets the linear paths to the patches' principal components and the codebook to k-means of them."""
    side = min(sides)
    crops = pictures.crops(recipe.seed, _START, side, max(64, (1 << 16) * recipe.patch**2 // side**2))
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    patches = F.unfold(images, recipe.patch, stride=recipe.patch).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    components = vectors.flip(1)[:, : recipe.code_dim].T.contiguous()
    device = tokenizer.codebook.device
    tokenizer.start_linear(components.to(device), mean.to(device))
    projected = (patches - mean) @ components.T  # [cells, d]
    tokenizer.codebook.copy_(_kmeans(projected, recipe.codes, recipe.seed))


def _kmeans(points: Tensor, codes: int, seed: int, rounds: int = 20) -> Tensor:
    """Returns `codes` centres [codes, d] of points [n, d] by Lloyd's rounds from drawn points."""
    order = np.random.default_rng(seed).permutation(len(points))
    if len(points) < codes:
        raise TokenizerError(
            f"{len(points)} cells are too few for {codes} codes", cure="add images or lower --codes"
        )
    centres = points[order[:codes]].clone()
    for _ in range(rounds):
        index = euclidean(points.T[None, :, :, None], centres).flatten()
        counts = torch.bincount(index, minlength=codes)
        sums = torch.zeros_like(centres).index_add_(0, index, points)
        used = counts > 0
        centres[used] = sums[used] / counts[used, None]
        spare = int((~used).sum())
        if spare:
            centres[~used] = points[order[codes : codes + spare]]
    return centres
