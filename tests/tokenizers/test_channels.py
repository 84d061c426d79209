"""Pictures of other domains than RGB: grey and four channels, from the file to the id and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from seit import tokenizers
from seit.errors import ImageError, TokenizerError
from seit.images import decode, to_view
from seit.store import TokenDataset
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.vit_vqgan import ViTVQGAN
from seit.tokenizers.vqgan import VQGAN
from seit.verbs.show import decode_rows, show
from seit.verbs.tokenize import tokenize

VIEW = {"size": 16, "resize": "squash", "interpolation": "bicubic"}


def tiny(family: str, channels: int) -> tokenizers.Tokenizer:
    torch.manual_seed(0)
    about = {"channels": channels, "preprocessing": VIEW | {"channels": channels}, "name": "tiny"}
    if family == "conv":
        return ConvTokenizer(4, 24, 6, (8, 8), (1, 1), **about)  # type: ignore[arg-type]
    if family == "vit-vqgan":
        return ViTVQGAN((16, 16), 4, (64, 1, 1, 64), (64, 1, 1, 64), 6, 24, **about)  # type: ignore[arg-type]
    return VQGAN(32, (32, 32), 1, (1,), True, 6, 6, 24, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["conv", "vit-vqgan", "vqgan"])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_every_family_takes_any_number_of_channels(family: str, channels: int, tmp_path: Path) -> None:
    tokenizer, images = tiny(family, channels), torch.rand(2, channels, 16, 16)
    ids = tokenizer.encode(images)
    assert tokenizer.decode(ids).shape == images.shape
    tokenizers.save(tokenizer, tmp_path / "a.safetensors", {})
    again = tokenizers.load(tmp_path / "a.safetensors")
    assert again.identity() == tokenizer.identity()
    assert torch.equal(again.encode(images), ids)
    with pytest.raises(TokenizerError, match=rf"float32 \[B, {channels}, H, W\]"):
        again.encode(torch.rand(2, 3, 16, 16))


@pytest.mark.parametrize("name", ["patch8", "patch4"])
def test_rgb_tokenizers_say_nothing_of_channels(name: str) -> None:
    tokenizer = tokenizers.load(name)
    assert (tokenizer.channels, "channels" in tokenizer.config()) == (3, False)  # identities stay what they were


def saved(path: Path, pixels: np.ndarray) -> bytes:
    Pillow.fromarray(pixels).save(path)
    return path.read_bytes()


def test_a_grey_picture_stays_as_it_is_and_a_colour_one_becomes_its_luma(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    grey = draw.integers(0, 256, (16, 16), np.uint8)
    picture = decode(saved(tmp_path / "a.png", grey), "a.png", 1)
    assert np.array_equal(to_view(picture, VIEW), grey[..., None])
    colour = draw.integers(0, 256, (16, 16, 3), np.uint8)
    luma = to_view(decode(saved(tmp_path / "b.png", colour), "b.png", 1), VIEW)[..., 0]
    assert np.abs(colour @ [0.299, 0.587, 0.114] - luma).max() <= 1  # ITU-R 601


def test_a_fourth_channel_is_kept_and_resized_by_itself(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    pixels[:16, :, 3] = 0  # as transparency it would erase the colours above
    view = to_view(decode(saved(tmp_path / "a.png", pixels), "a.png", 4), VIEW)
    for channel in range(4):
        alone = Pillow.fromarray(pixels[..., channel]).resize((16, 16), Pillow.Resampling.BICUBIC)
        assert np.array_equal(view[..., channel], np.asarray(alone))
    opaque = decode(saved(tmp_path / "b.png", pixels[..., :3].copy()), "b.png", 4)
    assert (to_view(opaque, VIEW)[..., 3] == 255).all()


def test_other_numbers_of_channels_are_in_no_picture_file(tmp_path: Path) -> None:
    data = saved(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(ImageError, match=r"no 2 channels.*grey.*RGBA"):
        decode(data, "a.png", 2)


@pytest.mark.parametrize(("family", "channels", "width"), [("vit-vqgan", 1, 64), ("conv", 4, 8)])
def test_a_domain_of_ones_own_from_training_to_decoded_tokens(
    family: str, channels: int, width: int, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    draw, folder = np.random.default_rng(0), tmp_path / "pictures"
    folder.mkdir()
    pictures = []
    for number in range(40):
        coarse = draw.integers(0, 256, (2, 2, channels), np.uint8)
        bands = [
            Pillow.fromarray(coarse[..., c]).resize((16, 16), Pillow.Resampling.BILINEAR) for c in range(channels)
        ]
        picture = Pillow.merge("RGBA", bands) if channels == 4 else bands[0]
        picture.save(folder / f"{number:02}.png")
        pictures.append(np.asarray(picture).reshape(16, 16, channels))
    out, store = tmp_path / "mine.safetensors", tmp_path / "x.tokens"
    call = f"tokenizer train {folder} --out {out} --family {family} --channels {channels} --width {width} --depth 1"
    sizes = "--patch 4 --codes 32 --code-dim 6 --size 16 --pixels 2048 --steps 100 --device cpu --quiet"
    crops = "--sides 16 " if family == "conv" else ""
    done = cli(*f"{call} {crops}{sizes}".split())
    assert done.code == 0, done.err
    tokenize(folder, store, tokenizer=out, device="cpu", workers=0)
    dataset, tokenizer = TokenDataset(store), tokenizers.load(out)
    rows = np.arange(len(dataset))
    decoded = np.stack(decode_rows(dataset, tokenizer, rows)).astype(float)
    wanted = np.stack([pictures[int(name.removesuffix(".png"))] for name in dataset.names(rows)]).astype(float)
    assert decoded.shape == wanted.shape
    error = np.mean((decoded - wanted) ** 2)
    assert error < 0.7 * np.mean((wanted.mean((0, 1, 2)) - wanted) ** 2)
    assert show(store, tmp_path / "s.png", tokenizer=out, rows=3)["originals"]
