"""Training tiny tokenizers of every family on made pictures: they learn, and an interruption leaves no trace."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from seit.errors import TokenizerError
from seit.images import Image
from seit.tokenizers import Tokenizer, training
from seit.tokenizers.pyramid import Pyramid
from seit.tokenizers.quality import psnr
from seit.tokenizers.recipe import FAMILIES, TokenizerRecipe, untrained
from seit.tokenizers.training import train

RECIPE = TokenizerRecipe(
    patch=4,
    codes=32,
    code_dim=6,
    width=8,
    depth=1,
    sides=(32,),
    pixels=8 * 32 * 32,
    steps=12,
    bf16=False,
)
WIDTHS = {"conv": 8, "vqgan": 32, "vit-vqgan": 64}


def of_family(family: str, **changes: object) -> TokenizerRecipe:
    sizes = {"family": family, "width": WIDTHS[family], "sides": (16,), "pixels": 8 * 16 * 16}
    return replace(RECIPE, **{**sizes, **changes})  # type: ignore[arg-type]


def pictures(count: int = 6, side: int = 48) -> list[Image]:
    """Returns smooth random pictures as a source lists them."""
    draw = np.random.default_rng(0)
    made = []
    for number in range(count):
        small = Pillow.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8))
        stream = io.BytesIO()
        small.resize((side + number, side), Pillow.Resampling.BICUBIC).save(stream, "PNG")
        made.append(Image(f"{number}.png", "train", -1, stream.getvalue.__call__))
    return made


@pytest.fixture(scope="module")
def pyramid() -> Pyramid:
    return Pyramid([pictures()], 32)


def weights(tokenizer: Tokenizer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in tokenizer.state_dict().items()}


def trained(recipe: TokenizerRecipe, pyramid: Pyramid, folder: Path, size: int = 32) -> Tokenizer:
    return train(recipe, pyramid, folder / "snapshot", name="tiny", size=size)


def test_a_few_steps_reconstruct_and_use_many_codes(pyramid: Pyramid, tmp_path: Path) -> None:
    tokenizer = trained(RECIPE, pyramid, tmp_path)
    crops = torch.from_numpy(pyramid.crops(9, 9, 32, 16)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        ids = tokenizer.encode(crops)
        reached = psnr(crops, tokenizer.decode(ids)).mean().item()
    grey = psnr(crops, crops.mean((2, 3), keepdim=True)).mean().item()
    assert reached > grey + 4
    assert len(ids.unique()) > RECIPE.codes // 2
    assert all(torch.isfinite(value).all() for value in tokenizer.state_dict().values())


class Coloured:
    """Crops of any number of channels: smooth fields, the last channel a function of the first."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def crops(self, seed: int, step: int, side: int, count: int) -> np.ndarray:
        draw = np.random.default_rng([seed, step % (1 << 32)])
        coarse = torch.from_numpy(draw.random((count, self.channels, 2, 2), np.float32))
        fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
        fine[:, -1] = 1 - fine[:, 0]
        return (fine * 255).byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("family", "channels"), [("vqgan", 1), ("vit-vqgan", 4), ("conv", 5)])
def test_a_family_of_ones_own_learns_in_any_number_of_channels(family: str, channels: int, tmp_path: Path) -> None:
    sizes = {"vqgan": (2, 25), "vit-vqgan": (4, 100), "conv": (4, 40)}
    patch, steps = sizes[family]
    recipe = of_family(family, channels=channels, patch=patch, steps=steps, learning_rate=2e-3)
    pictures = Coloured(channels)
    images = torch.from_numpy(pictures.crops(5, 5, 16, 16)).permute(0, 3, 1, 2).float() / 255
    torch.manual_seed(0)
    before, after = untrained(recipe, 16, "before"), train(recipe, pictures, tmp_path / "s", name="after", size=16)
    with torch.inference_mode():
        reached = [psnr(images, one.decode(one.encode(images))).mean().item() for one in (before, after)]
        used = len(after.encode(images).unique())
    flat = psnr(images, images.mean((0, 2, 3), keepdim=True).expand_as(images)).mean().item()
    assert reached[1] > max(reached[0], flat) + 1.5
    assert used > recipe.codes // 4
    assert after.channels == after.preprocessing.get("channels", 3) == channels


@pytest.mark.parametrize("family", FAMILIES)
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    family: str, pyramid: Pyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = of_family(family, steps=10)  # codes from step 1 on
    whole = weights(trained(recipe, pyramid, tmp_path / "a", 16))
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", -1)
    real, done = training._step, []

    def interrupted(*arguments: object) -> str:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    (tmp_path / "b").mkdir()
    monkeypatch.setattr(training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, pyramid, tmp_path / "b", 16)
    monkeypatch.setattr(training, "_step", real)
    assert (tmp_path / "b" / "snapshot").exists()
    resumed = weights(trained(recipe, pyramid, tmp_path / "b", 16))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_a_snapshot_of_another_recipe_is_refused(
    pyramid: Pyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", -1)
    trained(replace(RECIPE, steps=1), pyramid, tmp_path)
    with pytest.raises(TokenizerError, match="other settings"):
        trained(RECIPE, pyramid, tmp_path)


def test_too_few_pictures_for_the_codes_say_so(tmp_path: Path) -> None:
    few = Pyramid([pictures(1)], 32)
    with pytest.raises(TokenizerError, match="too few"):
        trained(replace(RECIPE, codes=1 << 20), few, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "vqgan", "patch": 6, "sides": (48,)}, r"vqgan with patch 6; choose 2, 4, 8"),
        ({"family": "vqgan", "width": 40}, "multiple of 32"),
        ({"family": "vit-vqgan", "width": 40}, "multiple of 64"),
        ({"family": "vit-vqgan", "width": 64, "sides": (64,)}, "one size"),
        ({"family": "conv", "patch": 3, "sides": (48,)}, "even"),
        ({"sides": (30,)}, "sides of 30 pixels"),
        ({"family": "vitvqgan"}, "known: .*vit-vqgan"),
    ],
)
def test_sizes_that_make_no_model_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(TokenizerError, match=said):
        untrained(replace(RECIPE, **changes), 48, "x")  # type: ignore[arg-type]


def test_pictures_of_28_pixels_can_be_trained_on() -> None:
    assert Pyramid([pictures(3, 28)], 28, channels=1).crops(0, 0, 28, 5).shape == (5, 28, 28, 1)


def test_crops_depend_on_seed_and_step_alone() -> None:
    one, other = Pyramid([pictures()], 32), Pyramid([pictures()], 32)
    one.crops(0, 0, 32, 3)
    first = one.crops(7, 5, 32, 10)
    assert np.array_equal(first, other.crops(7, 5, 32, 10))
    assert not np.array_equal(first, one.crops(7, 6, 32, 10))
    assert not np.array_equal(first, one.crops(8, 5, 32, 10))
    assert first.shape == (10, 32, 32, 3)
    assert first.dtype == np.uint8


def test_every_source_is_drawn_from_equally_often() -> None:
    flat = Pillow.new("RGB", (32, 32), "white")
    stream = io.BytesIO()
    flat.save(stream, "PNG")
    white = [Image("w.png", "train", -1, stream.getvalue.__call__)]
    crops = Pyramid([pictures(20, 32), white], 32).crops(0, 0, 32, 400)
    share = (crops == 255).all((1, 2, 3)).mean()
    assert 0.4 < share < 0.6


def test_pictures_smaller_than_a_crop_are_refused() -> None:
    with pytest.raises(TokenizerError, match="64 pixels"):
        Pyramid([pictures()], 64)
