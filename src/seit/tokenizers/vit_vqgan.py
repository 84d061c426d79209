"""ViT-VQGAN (Yu et al. 2022) as enhancing-transformers publishes it: SeiT's own tokenizer, 256 pixels to 32x32 ids.

Modules carry the names of the published checkpoints, so a state dict loads as it is (but for the codebook's key).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seit.errors import TokenizerError
from seit.tokenizers.base import Tokenizer, channels_of
from seit.tokenizers.search import cosine

_HEAD = 64  # channels of an attention head, whatever the width of the block

SIZES: dict[str, dict[str, Any]] = {
    "small": {"encoder": (512, 8, 8, 2048), "decoder": (512, 8, 8, 2048)},
    "base": {"encoder": (768, 12, 12, 3072), "decoder": (768, 12, 12, 3072)},
    "large": {"encoder": (512, 8, 8, 2048), "decoder": (1280, 32, 16, 5120)},
}
"""The three published configurations as arguments of `ViTVQGAN`; SeiT uses "base"."""


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Returns the fixed table of positions [1, rows * columns, width] float32, the column's part first.

    With Q = width / 4 and w_k = 10000^(-k / Q), a cell has sin(c w), cos(c w), sin(r w), cos(r w), each Q long.
    """
    quarter = width // 4
    rates = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row = torch.arange(rows, dtype=torch.float64)[:, None] * rates  # [rows, Q]
    column = torch.arange(columns, dtype=torch.float64)[:, None] * rates  # [columns, Q]
    row = row[:, None].expand(-1, columns, -1)  # [rows, columns, Q]
    column = column[None].expand(rows, -1, -1)
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], -1).float().view(1, -1, width)


class _Attention(nn.Module):
    """Multi-head self-attention; one head as wide as the block has no output projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * _HEAD, bias=False)
        self.to_out = nn.Identity() if heads == 1 and dim == _HEAD else nn.Linear(heads * _HEAD, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, N, dim] to the same shape."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, _HEAD)).permute(2, 0, 3, 1, 4)  # [B, heads, N, 64]
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    """Linear, tanh, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, N, dim] to the same shape."""
        return self.net(x)


class _PreNorm(nn.Module):
    """LayerNorm and a function, added to the input."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim), fn

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, N, dim] to the same shape."""
        return x + self.fn(self.norm(x))


class _Transformer(nn.Module):
    """Pre-norm blocks and a last LayerNorm."""

    def __init__(self, dim: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([_PreNorm(dim, _Attention(dim, heads)), _PreNorm(dim, _FeedForward(dim, hidden))])
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, N, dim] to the same shape."""
        for layer in self.layers:
            for step in layer:  # type: ignore[attr-defined]
                x = step(x)
        return self.norm(x)


class _Encoder(nn.Module):
    """Patches, positions, transformer."""

    en_pos_embedding: Tensor

    def __init__(
        self, grid: tuple[int, int], patch: int, channels: int, dim: int, depth: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.register_buffer("en_pos_embedding", positions(*grid, dim))
        self.to_patch_embedding = nn.Sequential(nn.Conv2d(channels, dim, patch, stride=patch))
        self.transformer = _Transformer(dim, depth, heads, hidden)

    def forward(self, images: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, h*w, dim]."""
        cells = self.to_patch_embedding(images).flatten(2).transpose(1, 2)
        return self.transformer(cells + self.en_pos_embedding)


class _Decoder(nn.Module):
    """Positions, transformer, patches."""

    de_pos_embedding: Tensor

    def __init__(
        self, grid: tuple[int, int], patch: int, channels: int, dim: int, depth: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.cells = grid
        self.register_buffer("de_pos_embedding", positions(*grid, dim))
        self.transformer = _Transformer(dim, depth, heads, hidden)
        self.to_pixel = nn.Sequential(nn.Identity(), nn.ConvTranspose2d(dim, channels, patch, stride=patch))

    def forward(self, cells: Tensor) -> Tensor:
        """Maps [B, h*w, dim] to [B, C, H, W]."""
        x = self.transformer(cells + self.de_pos_embedding)
        return self.to_pixel(x.transpose(1, 2).unflatten(-1, self.cells))


class ViTVQGAN(Tokenizer):
    """ViT-VQGAN: images in [0, 1] of one fixed size; the nearest code by angle; codes normalised to decode.

    `codebook` holds the table as it is stored, not normalised: SeiT's classifiers read those rows.

    Args:
        image_size: (H, W) in pixels, as the position tables fix it.
        patch: pixels per cell side.
        encoder: width, depth, heads (of 64 channels each) and hidden width of the MLP.
        decoder: the same.
        code_dim: d.
        codes: K.
        channels: of an image.
        preprocessing: see `Tokenizer`; SeiT's own if left out.
        name: what the user loads it by.
    """

    family = "vit-vqgan"
    unit_codes = True

    def __init__(
        self,
        image_size: tuple[int, int] = (256, 256),
        patch: int = 8,
        encoder: tuple[int, int, int, int] = (768, 12, 12, 3072),
        decoder: tuple[int, int, int, int] = (768, 12, 12, 3072),
        code_dim: int = 32,
        codes: int = 8192,
        channels: int = 3,
        *,
        preprocessing: dict[str, Any] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        height, width = self.image_size = tuple(image_size)
        self.patch, self.channels, self.name = patch, channels, name
        size = height if height == width else [height, width]
        self.preprocessing = preprocessing or {"size": size, "resize": "squash", "interpolation": "bicubic"}
        self._config = {
            "image_size": list(image_size),
            "patch": patch,
            "encoder": list(encoder),
            "decoder": list(decoder),
            "code_dim": code_dim,
            **channels_of(channels),
        }
        cells = height // patch, width // patch
        self.encoder = _Encoder(cells, patch, channels, *encoder)
        self.pre_quant = nn.Linear(encoder[0], code_dim)
        self.register_buffer("codebook", torch.randn(codes, code_dim))
        self.post_quant = nn.Linear(code_dim, decoder[0])
        self.decoder = _Decoder(cells, patch, channels, *decoder)

    def config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**self._config, "codes": self.vocabulary}

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns (h, w); the position tables allow one size of image.

        Raises:
            TokenizerError: the image has another size.
        """
        if (height, width) != self.image_size:
            raise TokenizerError(
                f"an image of {height}x{width} pixels, where the position table is for "
                f"{self.image_size[0]}x{self.image_size[1]}",
                f"tokenizer {self.name}",
                "resize to that size",
            )
        return super().grid(height, width)

    def features(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] in [0, 1] to features [B, d, h, w], not normalised."""
        grid = self.grid(*images.shape[-2:])
        return self.pre_quant(self.encoder(images)).transpose(1, 2).unflatten(-1, grid)

    def search(self, features: Tensor) -> Tensor:
        """Maps features [B, d, h, w] to the ids [B, h, w] of the codes nearest by angle."""
        return cosine(features, self.codebook)

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, h, w] of any norm to images [B, C, H, W], about in [0, 1], not clamped."""
        self.grid(vectors.shape[-2] * self.patch, vectors.shape[-1] * self.patch)
        cells = F.normalize(vectors, dim=1).flatten(2).transpose(1, 2)  # [B, h*w, d]
        return self.decoder(self.post_quant(cells))
