"""Convolutional VQGAN (Esser et al. 2021), one backbone for taming, latent diffusion and LlamaGen.

They differ in sizes and in how a code is searched. Modules carry taming's names, so that its state dicts load as
they are (but for the codebook's key); `checkpoints` renames the others' keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seit.errors import TokenizerError, nearest_names
from seit.tokenizers.base import Tokenizer, channels_of
from seit.tokenizers.search import cosine, dot, euclidean

SEARCHES = ("euclidean", "cosine", "gumbel", "dot")


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class _Residual(nn.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), a 1x1 convolution on x where the width changes."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm2, self.conv2 = _norm(out), nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to [B, out, H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class _Attention(nn.Module):
    """One head over all places, by 1x1 convolutions, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to the same shape."""
        normed = self.norm(x)
        q, k, v = (layer(normed).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))  # [B, HW, C]
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(mixed.transpose(1, 2).view_as(x))


class _Downsample(nn.Module):
    """A 3x3 convolution of stride 2 after one zero column on the right and one zero row at the bottom."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, C, H//2, W//2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Upsample(nn.Module):
    """Every place four times, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, C, 2H, 2W]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Level(nn.Module):
    """The residual blocks of one resolution, each followed by attention where the level has it, then a resize."""

    def __init__(self, channels: int, out: int, blocks: int, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Residual(channels if j == 0 else out, out) for j in range(blocks))
        self.attn = nn.ModuleList(_Attention(out) if attention else nn.Identity() for _ in range(blocks))
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to [B, out, H', W']."""
        for block, attn in zip(self.block, self.attn, strict=True):
            x = attn(block(x))
        return self.upsample(self.downsample(x))


class _Middle(nn.Module):
    """Residual, attention (not in every model), residual."""

    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        self.block_1 = _Residual(channels, channels)
        self.attn_1 = _Attention(channels) if attention else nn.Identity()
        self.block_2 = _Residual(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class _Encoder(nn.Module):
    """Levels from fine to coarse, the middle, and a convolution to z."""

    def __init__(
        self,
        image: int,
        width: int,
        widths: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        middle: bool,
        z: int,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(image, width, 3, padding=1)
        self.down = nn.ModuleList()
        channels = width
        for i, out in enumerate(widths):
            level = _Level(channels, out, blocks, i in attention)
            if i < len(widths) - 1:
                level.downsample = _Downsample(out)
            self.down.append(level)
            channels = out
        self.mid = _Middle(channels, middle)
        self.norm_out = _norm(channels)
        self.conv_out = nn.Conv2d(channels, z, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, z, h, w]."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class _Decoder(nn.Module):
    """A convolution from z, the middle, and levels from coarse to fine, numbered as in the encoder."""

    def __init__(
        self, image: int, widths: Sequence[int], blocks: int, attention: Sequence[int], middle: bool, z: int
    ) -> None:
        super().__init__()
        channels = widths[-1]
        self.conv_in = nn.Conv2d(z, channels, 3, padding=1)
        self.mid = _Middle(channels, middle)
        levels = []
        for i, out in reversed(list(enumerate(widths))):
            level = _Level(channels, out, blocks + 1, i in attention)
            if i:
                level.upsample = _Upsample(out)
            levels.append(level)
            channels = out
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = _norm(channels)
        self.conv_out = nn.Conv2d(channels, image, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Maps [B, z, h, w] to [B, C, H, W]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):  # type: ignore[call-overload]
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class VQGAN(Tokenizer):
    """Convolutional VQGAN for images in [0, 1] of any size (inside it works in [-1, 1]).

    Args:
        width: channels of the first convolution.
        widths: channels of each level; a level but the last halves the picture (rounded down).
        blocks: residual blocks of an encoder level; a decoder level has one more.
        attention: levels with attention after each block.
        middle_attention: whether the middle has attention.
        z: channels between encoder and code space.
        code_dim: d.
        codes: K.
        search: how a code is chosen: "euclidean"; "cosine", which also decodes from codes of norm 1; "gumbel",
            the largest of a 1x1 convolution's K logits (argmax, without the noise that the original adds even in
            eval mode); "dot", the largest product with a code.
        channels: of an image.
        preprocessing: see `Tokenizer`; SeiT's own if left out.
        name: what the user loads it by.

    Raises:
        TokenizerError: `search` is unknown.
    """

    family = "vqgan"

    def __init__(
        self,
        width: int = 128,
        widths: Sequence[int] = (128, 256, 256, 512),
        blocks: int = 2,
        attention: Sequence[int] = (3,),
        middle_attention: bool = True,
        z: int = 4,
        code_dim: int = 4,
        codes: int = 256,
        search: str = "euclidean",
        channels: int = 3,
        *,
        preprocessing: dict[str, Any] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        if search not in SEARCHES:
            raise TokenizerError(
                f"there is no code search {search!r}", f"tokenizer {name}", nearest_names(search, SEARCHES)
            )
        self.name, self.patch, self.channels = name, 2 ** (len(widths) - 1), channels
        self.unit_codes = search == "cosine"
        self.preprocessing = preprocessing or {"size": 256, "resize": "squash", "interpolation": "bicubic"}
        self._search = search
        self._config = {
            "width": width,
            "widths": list(widths),
            "blocks": blocks,
            "attention": list(attention),
            "middle_attention": middle_attention,
            "z": z,
            "code_dim": code_dim,
            "search": search,
            **channels_of(channels),
        }
        self.encoder = _Encoder(channels, width, widths, blocks, attention, middle_attention, z)
        self.quant_conv = nn.Conv2d(z, code_dim, 1)
        self.register_buffer("codebook", torch.empty(codes, code_dim).uniform_(-1 / codes, 1 / codes))
        if search == "gumbel":
            self.proj = nn.Conv2d(code_dim, codes, 1)
        self.post_quant_conv = nn.Conv2d(code_dim, z, 1)
        self.decoder = _Decoder(channels, widths, blocks, attention, middle_attention, z)

    def config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**self._config, "codes": self.vocabulary}

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns (h, w): each side halved, rounded down, once per level but the last.

        Raises:
            TokenizerError: the image is smaller than a cell.
        """
        return super().grid(*(side - side % self.patch for side in (height, width)))

    def features(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] in [0, 1] to features [B, d, h, w], not normalised."""
        self.grid(*images.shape[-2:])
        return self.quant_conv(self.encoder(images * 2 - 1))

    def search(self, features: Tensor) -> Tensor:
        """Maps features [B, d, h, w] to ids [B, h, w] int64 by the model's rule."""
        if self._search == "gumbel":
            return dot(features, self.proj.weight.flatten(1), self.proj.bias)
        if self._search == "dot":
            return dot(features, self.codebook)
        return (cosine if self.unit_codes else euclidean)(features, self.codebook)

    def straight_through(self, features: Tensor) -> Tensor:
        """See `Tokenizer.straight_through`; the Gumbel family's gradient is that of the softmax over its logits."""
        if self._search != "gumbel":
            return super().straight_through(features)
        soft = self.proj(features).softmax(1)  # [B, K, h, w]
        mixed = torch.einsum("bkhw,kd->bdhw", soft, self.codebook)
        return self.lookup(self.search(features)) + (mixed - mixed.detach())

    def keep(self, codes: Tensor) -> Self:
        """See `Tokenizer.keep`; the Gumbel family's logits are reduced with the codebook."""
        if self._search == "gumbel":
            full, kept = self.proj, codes.to(self.codebook.device)
            self.proj = nn.Conv2d(full.in_channels, len(codes), 1).requires_grad_(full.weight.requires_grad)
            self.proj.load_state_dict({key: value[kept] for key, value in full.state_dict().items()}, assign=True)
        return super().keep(codes)

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, h, w] to images [B, C, h*patch, w*patch], about in [0, 1], not clamped."""
        if self.unit_codes:
            vectors = F.normalize(vectors, dim=1)
        return (self.decoder(self.post_quant_conv(vectors)) + 1) / 2
