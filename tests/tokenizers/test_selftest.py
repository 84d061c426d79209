"""The self-test passes what is right and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from colours import colours
from PIL import Image as Pillow

from seit.errors import TokenizerError
from seit.images import to_view
from seit.tokenizers import bundled, load
from seit.tokenizers.selftest import self_test


def right(picture: Pillow.Image) -> torch.Tensor:
    """Prepares a picture as the example's preprocessing says."""
    view = to_view(picture, {"size": 64, "resize": "squash", "interpolation": "bicubic"})
    return torch.from_numpy(view).permute(2, 0, 1).float() / 255


WRONG: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "[-1, 1]": (lambda x: x * 2 - 1, r"numbers from -\d"),
    "0..255": (lambda x: x * 255, "numbers from"),
    "mean and deviation": (lambda x: (x - 0.45) / 0.225, "numbers from"),
    "half range": (lambda x: (x + 1) / 2, "makes other pictures"),
    "BGR": (lambda x: x.flip(0), "red and blue exchanged"),
    "mirrored": (lambda x: x.flip(-1), "look mirrored"),
    "upside down": (lambda x: x.flip(-2), "look upside down"),
    "transposed": (lambda x: x.mT, "rows and columns exchanged"),
    "another size": (lambda x: x[:, 4:-4, 4:-4], r"torch.float32 \[3, 56, 56\].*\[3, 64, 64\]"),
    "a smaller picture enlarged": (
        lambda x: F.interpolate(F.avg_pool2d(x, 2)[None], scale_factor=2.0, mode="bilinear")[0],
        "makes other pictures",
    ),
    "channels last": (lambda x: x.permute(1, 2, 0), "channels first"),
    "bytes": (lambda x: (x * 255).byte(), "torch.uint8"),
}


def test_the_right_preprocessing_passes() -> None:
    found = self_test(colours(), right)
    assert found["psnr_db"] > found["floor_db"] + 1
    assert found == self_test(colours())


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_the_preprocessing_is_loud_and_named(mistake: str) -> None:
    change, said = WRONG[mistake]
    with pytest.raises(TokenizerError, match=said):
        self_test(colours(), lambda picture: change(right(picture)))


def resized(picture: Pillow.Image, kind: Pillow.Resampling) -> torch.Tensor:
    """Resizes with Pillow, straight to the square."""
    return torch.from_numpy(np.array(picture.resize((64, 64), kind))).permute(2, 0, 1).float() / 255


def whole(picture: Pillow.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def cropped(picture: Pillow.Image) -> torch.Tensor:
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    return resized(picture.crop((left, top, left + short, top + short)), Pillow.Resampling.BICUBIC)


RESIZED: dict[str, tuple[Callable[[Pillow.Image], torch.Tensor], str]] = {
    "bilinear": (lambda p: resized(p, Pillow.Resampling.BILINEAR), "look resized by bilinear;"),
    "nearest": (lambda p: resized(p, Pillow.Resampling.NEAREST), "nearest without antialiasing"),
    "the short side and a crop": (cropped, "look fitted by crop"),
    "torch's interpolate": (
        lambda p: F.interpolate(whole(p), size=(64, 64), mode="bilinear")[0],
        "bilinear without antialiasing",
    ),
}


@pytest.mark.parametrize("mistake", RESIZED)
def test_another_resize_is_loud_and_named(mistake: str) -> None:
    prepare, said = RESIZED[mistake]
    with pytest.raises(TokenizerError, match=said):
        self_test(colours(), prepare)


def test_another_librarys_resize_passes() -> None:
    def torchs(picture: Pillow.Image) -> torch.Tensor:
        return F.interpolate(whole(picture), size=(64, 64), mode="bicubic", antialias=True)[0].clamp(0, 1)

    assert self_test(colours(), torchs)["psnr_db"] == pytest.approx(
        self_test(colours(), right)["psnr_db"], abs=0.05
    )


def test_wrong_weights_are_loud() -> None:
    tokenizer = colours()
    tokenizer.codebook = tokenizer.codebook.flip(1)
    with pytest.raises(TokenizerError, match="weights or its family's settings"):
        self_test(tokenizer.keep(torch.arange(64)))


@pytest.mark.parametrize("name", bundled())
def test_the_bundled_tokenizers_pass(name: str) -> None:
    found = self_test(load(name), photos=3)
    assert found["psnr_db"] > found["floor_db"] + 2
