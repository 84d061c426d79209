"""How well a tokenizer reconstructs: PSNR and SSIM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def psnr(images: Tensor, decoded: Tensor) -> Tensor:
    """Returns each image's peak signal-to-noise ratio [B] in dB; images [B, C, H, W] in [0, 1]."""
    return -10 * torch.log10((images - decoded).square().mean((1, 2, 3)).clamp_min(1e-10))


def ssim(images: Tensor, decoded: Tensor) -> Tensor:
    """Returns each image's structural similarity [B]; images [B, C, H, W] in [0, 1].

    Source: Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03, per channel,
    averaged where the window fits whole.
    """
    channels = images.shape[1]
    steps = torch.arange(11, dtype=images.dtype, device=images.device) - 5
    line = torch.exp(-(steps**2) / (2 * 1.5**2))
    line = line / line.sum()
    window = (line[:, None] * line)[None, None].expand(channels, 1, -1, -1)

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x, window, groups=channels)

    mean_x, mean_y = blur(images), blur(decoded)
    var_x = blur(images * images) - mean_x**2
    var_y = blur(decoded * decoded) - mean_y**2
    cov = blur(images * decoded) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return score.mean((1, 2, 3))
