"""PSNR and SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from seit.tokenizers.quality import psnr, ssim


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns three smooth images and noised copies of them."""
    draw = np.random.default_rng(0)
    coarse = torch.from_numpy(draw.random((3, 3, 8, 6)))
    images = torch.nn.functional.interpolate(coarse, size=(48, 40), mode="bicubic").clamp(0, 1)
    noise = torch.from_numpy(draw.normal(size=images.shape)) * torch.tensor([0.01, 0.05, 0.2])[:, None, None, None]
    return images, (images + noise).clamp(0, 1)


def test_psnr_is_scikit_images() -> None:
    images, decoded = pairs()
    wanted = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1) for a, b in zip(images, decoded, strict=True)
    ]
    assert psnr(images, decoded).tolist() == pytest.approx(wanted, rel=1e-9)


def test_ssim_is_scikit_images_with_the_papers_window() -> None:
    images, decoded = pairs()
    wanted = []
    for a, b in zip(images.numpy(), decoded.numpy(), strict=True):
        _, full = structural_similarity(
            a,
            b,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        wanted.append(full[:, 5:-5, 5:-5].mean())  # where the window of 11 fits whole
    assert ssim(images, decoded).tolist() == pytest.approx(wanted, abs=1e-6)


def test_an_image_is_like_itself() -> None:
    images, _ = pairs()
    assert ssim(images, images).tolist() == pytest.approx([1, 1, 1])
    assert psnr(images, images).tolist() == pytest.approx([100, 100, 100])
