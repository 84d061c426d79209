"""The self-test passes what is right and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
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
    "half range": (lambda x: (x + 1) / 2, "come back with"),
    "BGR": (lambda x: x.flip(0), "red and blue exchanged"),
    "mirrored": (lambda x: x.flip(-1), "look mirrored"),
    "upside down": (lambda x: x.flip(-2), "look upside down"),
    "transposed": (lambda x: x.mT, "rows and columns exchanged"),
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


def test_wrong_weights_are_loud() -> None:
    tokenizer = colours()
    tokenizer.codebook = tokenizer.codebook.flip(1)
    with pytest.raises(TokenizerError, match="weights or its family's settings"):
        self_test(tokenizer.keep(torch.arange(64)))


@pytest.mark.parametrize("name", bundled())
def test_the_bundled_tokenizers_pass(name: str) -> None:
    found = self_test(load(name), photos=3)
    assert found["psnr_db"] > found["floor_db"] + 2
