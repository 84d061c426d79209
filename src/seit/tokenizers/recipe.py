"""Which tokenizer to train, and how: every choice, and the untrained model that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from seit.errors import TokenizerError, nearest_names
from seit.tokenizers.base import Tokenizer, channels_of
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.vit_vqgan import ViTVQGAN
from seit.tokenizers.vqgan import VQGAN

_HEAD = 64  # channels of a ViT's attention head
_GROUPS = 32  # of a VQGAN's normalisation
# By PyTorch's own start a photo's patches are much fainter than the table of positions added to them, and the
# picture is learnt late.
_PATCH_GAIN = 8.0


@dataclass(frozen=True)
class TokenizerRecipe:
    """Every choice of a tokenizer's training; None is what suits the family.

    Attributes:
        family: "conv" (the bundled one), "vqgan" or "vit-vqgan".
        patch: pixels per cell side.
        codes: K.
        code_dim: d.
        width: channels: conv's fine stage (its coarse one has twice as many), vqgan's first level (later ones have
            up to four times as many), or the ViT's blocks.
        depth: conv's and vqgan's residual blocks a level (conv's coarse stage has twice as many), or the ViT's
            blocks on either side.
        channels: of an image: 3 for RGB, 1 for grey, or what the crops have.
        sides: crop sides in pixels; steps take them in turn. A ViT has one size, its view's.
        pixels: pixels of one batch (so its crops are pixels / side^2).
        steps: optimizer steps.
        learning_rate: peak of AdamW's.
        seed: of everything that is drawn.
        bf16: autocast to bfloat16 (the saved tokenizer works in float32).
    """

    family: str = "conv"
    patch: int = 8
    codes: int = 512
    code_dim: int = 16
    width: int | None = None
    depth: int | None = None
    channels: int = 3
    sides: tuple[int, ...] | None = None
    pixels: int = 32 * 64 * 64
    steps: int = 3000
    learning_rate: float | None = None
    seed: int = 0
    bf16: bool = True


class _Family(NamedTuple):
    """What a family takes where the recipe says nothing, and how its model is made."""

    width: int
    depth: int
    learning_rate: float
    make: Callable[[TokenizerRecipe, int, int, dict[str, Any], str], Tokenizer]


def _conv(recipe: TokenizerRecipe, width: int, depth: int, preprocessing: dict[str, Any], name: str) -> Tokenizer:
    """Makes the bundled family's model."""
    if recipe.patch % 2:
        raise TokenizerError(f"family conv with patch {recipe.patch}", "--patch", "choose an even one")
    return ConvTokenizer(
        recipe.patch,
        recipe.codes,
        recipe.code_dim,
        (width, 2 * width),
        (depth, 2 * depth),
        recipe.channels,
        preprocessing=preprocessing,
        name=name,
    )


def _vqgan(recipe: TokenizerRecipe, width: int, depth: int, preprocessing: dict[str, Any], name: str) -> Tokenizer:
    """Makes a VQGAN: levels of 1, 2, 2, ..., 4 times the width, attention at the coarsest, as vq-f8's."""
    levels = recipe.patch.bit_length() - 1
    if recipe.patch != 1 << levels or not levels:
        raise TokenizerError(f"family vqgan with patch {recipe.patch}", "--patch", "choose 2, 4, 8, 16, ...")
    if width % _GROUPS:
        raise TokenizerError(f"family vqgan with width {width}", "--width", f"choose a multiple of {_GROUPS}")
    tokenizer = VQGAN(
        width,
        [width, *[2 * width] * (levels - 1), 4 * width],
        depth,
        (levels,),
        True,
        4 * width,
        recipe.code_dim,
        recipe.codes,
        channels=recipe.channels,
        preprocessing=preprocessing,
        name=name,
    )
    _quieten(tokenizer)
    return tokenizer


def _vit(recipe: TokenizerRecipe, width: int, depth: int, preprocessing: dict[str, Any], name: str) -> Tokenizer:
    """Makes a ViT-VQGAN with the published proportions: heads of 64 channels, an MLP four times as wide."""
    size = preprocessing["size"]
    if width % _HEAD:
        raise TokenizerError(f"family vit-vqgan with width {width}", "--width", f"choose a multiple of {_HEAD}")
    if recipe.sides not in (None, (size,)):
        said = f"family vit-vqgan with crops of {recipe.sides} pixels, and {size} for its view"
        raise TokenizerError(said, "--sides", "leave it out: its positions are for one size")
    blocks = (width, depth, width // _HEAD, 4 * width)
    tokenizer = ViTVQGAN(
        (size, size),
        recipe.patch,
        blocks,
        blocks,
        recipe.code_dim,
        recipe.codes,
        recipe.channels,
        preprocessing=preprocessing,
        name=name,
    )
    _quieten(tokenizer)
    patches = tokenizer.encoder.to_patch_embedding[0]
    with torch.no_grad():
        patches.weight.mul_(_PATCH_GAIN)  # type: ignore[operator]
        patches.bias.copy_(-0.5 * patches.weight.sum((1, 2, 3)))  # type: ignore[operator, union-attr]
    return tokenizer


@torch.no_grad()
def _quieten(tokenizer: Tokenizer) -> None:
    """Makes the residual branches small, so that training starts from a nearly linear map, as conv's does."""
    for name, value in tokenizer.named_parameters():
        if name.endswith((".to_out.weight", ".net.2.weight", ".conv2.weight", ".proj_out.weight")):
            value.mul_(0.1)


FAMILIES = {
    "conv": _Family(64, 2, 1.5e-3, _conv),
    "vqgan": _Family(64, 1, 1e-3, _vqgan),
    "vit-vqgan": _Family(256, 4, 1e-3, _vit),
}


def untrained(recipe: TokenizerRecipe, size: int, name: str) -> Tokenizer:
    """Returns the recipe's tokenizer before its first step.

    Args:
        recipe: see there.
        size: side of the square view that its preprocessing makes, pixels.
        name: the tokenizer's name.

    Raises:
        TokenizerError: there is no such family, or its sizes do not fit.
    """
    found = FAMILIES.get(recipe.family)
    if found is None:
        cure = nearest_names(recipe.family, list(FAMILIES))
        raise TokenizerError(f"there is no family {recipe.family!r} to train", "--family", cure)
    width, depth = recipe.width or found.width, recipe.depth or found.depth
    uneven = [side for side in (size, *sides_of(recipe, size)) if side <= 0 or side % recipe.patch]
    if uneven:
        raise TokenizerError(
            f"patch {recipe.patch} with sides of {', '.join(map(str, uneven))} pixels",
            f"tokenizer {name}",
            "choose a size and sides that are its multiples",
        )
    preprocessing = {"size": size, "resize": "squash", "interpolation": "bicubic", **channels_of(recipe.channels)}
    return found.make(recipe, width, depth, preprocessing, name)


def sides_of(recipe: TokenizerRecipe, size: int) -> tuple[int, ...]:
    """Returns the sides of the crops to train on, pixels."""
    return recipe.sides or ((size,) if recipe.family == "vit-vqgan" else (128, 64))
