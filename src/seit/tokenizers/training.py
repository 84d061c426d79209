"""Trains a tokenizer of the conv family: the command that made the bundled ones.

Start: principal components and k-means on patches. Then: straight-through VQ with moving-average codes, squared
error plus gradient differences at three scales, AdamW, cosine. A step's crops and draws depend on (seed, step)
alone, so an interrupted training goes on from its snapshot as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seit import checkpoint
from seit.errors import TokenizerError
from seit.progress import progress
from seit.tokenizers.base import nearest
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.pyramid import Pyramid

_SNAPSHOT_SECONDS = 120
_GRADIENT_WEIGHT = 0.05
_COMMITMENT = 0.25
_CODE_DECAY = 0.99
_DEAD_SHARE = 0.1  # of the mean count; codes below it are moved


@dataclass(frozen=True)
class TokenizerRecipe:
    """Every choice of a tokenizer's training.

    Attributes:
        patch: pixels per cell side.
        codes: K.
        code_dim: d.
        widths: channels of the fine and the coarse stage.
        depths: residual blocks of the two stages.
        sides: crop sides in pixels; steps take them in turn.
        pixels: pixels of one batch (so its crops are pixels / side^2).
        steps: optimizer steps.
        learning_rate: peak of AdamW's.
        seed: of everything that is drawn.
        bf16: autocast to bfloat16 (the saved tokenizer works in float32).
    """

    patch: int = 8
    codes: int = 512
    code_dim: int = 16
    widths: tuple[int, int] = (64, 128)
    depths: tuple[int, int] = (2, 4)
    sides: tuple[int, ...] = (128, 64)
    pixels: int = 32 * 64 * 64
    steps: int = 3000
    learning_rate: float = 1.5e-3
    seed: int = 0
    bf16: bool = True


def train(
    recipe: TokenizerRecipe,
    pyramid: Pyramid,
    snapshot: str | os.PathLike[str],
    *,
    name: str,
    size: int,
    device: str = "cpu",
) -> ConvTokenizer:
    """Trains a tokenizer, or goes on with the training that `snapshot` holds.

    Args:
        recipe: what to train.
        pyramid: the pictures.
        snapshot: a file written every two minutes; the caller removes it when the result is saved.
        name: the tokenizer's name.
        size: side of the square view that its preprocessing makes, pixels.
        device: where to train.

    Raises:
        TokenizerError: the loss is not finite, or the snapshot is of another recipe.
    """
    preprocessing = {"size": size, "resize": "squash", "interpolation": "bicubic"}
    torch.manual_seed(recipe.seed)
    tokenizer = ConvTokenizer(
        recipe.patch,
        recipe.codes,
        recipe.code_dim,
        recipe.widths,
        recipe.depths,
        preprocessing=preprocessing,
        name=name,
    )
    tokenizer.to(torch.device(device)).to(memory_format=torch.channels_last)
    state = _State(tokenizer, recipe)
    if Path(snapshot).exists():
        state.restore(snapshot)
    else:
        _start(tokenizer, pyramid, recipe)
    saved = time.monotonic()
    with progress(recipe.steps, f"train {name}", "steps", done=state.step) as bar:
        while state.step < recipe.steps:
            note = _step(state, pyramid, device)
            bar.update(1, note)
            if time.monotonic() - saved > _SNAPSHOT_SECONDS:
                state.snapshot(snapshot)
                saved = time.monotonic()
    return tokenizer.eval()


class _State:
    """Everything that changes from step to step."""

    def __init__(self, tokenizer: ConvTokenizer, recipe: TokenizerRecipe) -> None:
        self.tokenizer, self.recipe, self.step = tokenizer, recipe, 0
        self.optimizer = torch.optim.AdamW(
            tokenizer.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.counts = torch.ones(recipe.codes)
        self.sums = torch.zeros(recipe.codes, recipe.code_dim)
        self.mean_norm = torch.zeros(())

    def learning_rate(self) -> float:
        """Returns the step's learning rate: 100 warm-up steps, cosine to 2%."""
        warm = min(1.0, (self.step + 1) / 100)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return self.recipe.learning_rate * warm * (0.02 + 0.98 * cosine)

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


def _step(state: _State, pyramid: Pyramid, device: str) -> str:
    """Makes one optimizer step and moves the codes; returns a note for the progress line."""
    recipe, tokenizer = state.recipe, state.tokenizer
    side = recipe.sides[state.step % len(recipe.sides)]
    crops = pyramid.crops(recipe.seed, state.step, side, max(1, recipe.pixels // side**2))
    images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float().div_(255)
    for group in state.optimizer.param_groups:
        group["lr"] = state.learning_rate()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bf16):
        features = tokenizer.features(images)
    features = features.float()
    ids, vectors = tokenizer.quantize(features)
    commitment = (features - vectors).square().mean()
    passed = features + (vectors - features).detach()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bf16):
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
    _move_codes(state, features.detach(), ids)
    state.step += 1
    return f"psnr {-10 * math.log10(error.item() + 1e-12):.2f} dB, {(state.counts > 1).sum().item()} codes"


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
    if state.step == 0:
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


@torch.no_grad()
def _start(tokenizer: ConvTokenizer, pyramid: Pyramid, recipe: TokenizerRecipe) -> None:
    """Sets the linear paths to the patches' principal components and the codebook to k-means of them."""
    side = min(recipe.sides)
    crops = pyramid.crops(recipe.seed, 1 << 40, side, max(64, (1 << 16) * recipe.patch**2 // side**2))
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
        index = nearest(points.T[None, :, :, None], centres)[0].flatten()
        counts = torch.bincount(index, minlength=codes)
        sums = torch.zeros_like(centres).index_add_(0, index, points)
        used = counts > 0
        centres[used] = sums[used] / counts[used, None]
        spare = int((~used).sum())
        if spare:
            centres[~used] = points[order[codes : codes + spare]]
    return centres
