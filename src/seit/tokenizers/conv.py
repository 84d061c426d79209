"""The bundled family: a small fully convolutional VQ autoencoder for images of any size.

A linear map (the patches' principal components at the start of training) carries the signal and a residual network
corrects it, on both sides of the codebook. There is no normalisation layer: group statistics are taken over the
picture, so those of a 64-pixel crop and a 256-pixel view differ, and a codebook cannot fit both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seit.tokenizers.base import Tokenizer, channels_of


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), starting near the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.SiLU()
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, width, H, W] to the same shape."""
        return x + self.second(self.act(self.first(self.act(x))))


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Returns `layer` giving zero, so that training starts from the linear path alone."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ConvTokenizer(Tokenizer):
    """Patch-p VQ autoencoder: pixel shuffle by p/2, blocks, one strided convolution, blocks, nearest code.

    Args:
        patch: pixels per cell side, a multiple of 2.
        codes: K.
        code_dim: d, the width of a code.
        widths: channels at p/2 pixels and at p pixels per position.
        depths: residual blocks at the two resolutions, the same in encoder and decoder.
        channels: of an image.
        preprocessing: see `Tokenizer`.
        name: what the user loads it by.
    """

    family = "conv"

    def __init__(
        self,
        patch: int,
        codes: int = 512,
        code_dim: int = 16,
        widths: tuple[int, int] = (64, 128),
        depths: tuple[int, int] = (2, 4),
        channels: int = 3,
        *,
        preprocessing: dict[str, Any],
        name: str = "",
    ) -> None:
        super().__init__()
        self.patch, self.channels, self.name, self.preprocessing = patch, channels, name, preprocessing
        self._config = {
            "patch": patch,
            "codes": codes,
            "code_dim": code_dim,
            "widths": list(widths),
            "depths": list(depths),
            **channels_of(channels),
        }
        half, (fine, coarse), (shallow, deep) = patch // 2, widths, depths
        self.linear_in = nn.Conv2d(channels, code_dim, patch, stride=patch)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(half),
            nn.Conv2d(channels * half * half, fine, 3, padding=1),
            *(ResidualBlock(fine) for _ in range(shallow)),
            nn.Conv2d(fine, coarse, 2, stride=2),
            *(ResidualBlock(coarse) for _ in range(deep)),
            nn.SiLU(),
            _zeroed(nn.Conv2d(coarse, code_dim, 1)),
        )
        self.register_buffer("codebook", torch.randn(codes, code_dim))
        self.decoder = nn.Sequential(
            nn.Conv2d(code_dim, coarse, 3, padding=1),
            *(ResidualBlock(coarse) for _ in range(deep)),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(shallow)),
            nn.SiLU(),
            _zeroed(nn.Conv2d(fine, channels * half * half, 3, padding=1)),
            nn.PixelShuffle(half),
        )
        self.linear_out = nn.ConvTranspose2d(code_dim, channels, patch, stride=patch)

    def config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**self._config, "codes": self.vocabulary}

    def features(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] in [0, 1] to features [B, d, H/p, W/p]."""
        self.grid(*images.shape[-2:])
        centred = images * 2 - 1
        return self.linear_in(centred) + self.encoder(centred)

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, h, w] to images [B, C, h*p, w*p], not clamped."""
        return (self.linear_out(vectors) + self.decoder(vectors) + 1) / 2

    @torch.no_grad()
    def start_linear(self, components: Tensor, mean: Tensor) -> None:
        """Sets both linear paths to the projection on principal components and back.

        Args:
            components: [d, C*p*p] orthonormal rows over patches in [-1, 1], channel-major.
            mean: [C*p*p], the mean patch.
        """
        width, shape = components.shape[0], (self.channels, self.patch, self.patch)
        self.linear_in.weight.copy_(components.view(width, *shape))
        self.linear_in.bias.copy_(-components @ mean)  # type: ignore[union-attr]
        self.linear_out.weight.copy_(components.view(width, *shape))
        # A transposed convolution has one bias a channel; the mean patch of photos is flat to within noise.
        self.linear_out.bias.copy_(mean.view(self.channels, -1).mean(1))  # type: ignore[union-attr]
