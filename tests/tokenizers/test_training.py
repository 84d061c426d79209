"""Training a tiny tokenizer on made pictures: it learns, and an interruption leaves no trace."""

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
from seit.tokenizers import training
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.pyramid import Pyramid
from seit.tokenizers.quality import psnr
from seit.tokenizers.training import TokenizerRecipe, train

RECIPE = TokenizerRecipe(
    patch=4,
    codes=32,
    code_dim=6,
    widths=(8, 12),
    depths=(1, 1),
    sides=(32,),
    pixels=8 * 32 * 32,
    steps=12,
    bf16=False,
)


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


def weights(tokenizer: ConvTokenizer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in tokenizer.state_dict().items()}


def trained(recipe: TokenizerRecipe, pyramid: Pyramid, folder: Path) -> ConvTokenizer:
    return train(recipe, pyramid, folder / "snapshot", name="tiny", size=32)


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


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    pyramid: Pyramid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(trained(RECIPE, pyramid, tmp_path / "a"))
    monkeypatch.setattr(training, "_SNAPSHOT_SECONDS", -1)
    real, done = training._step, []

    def interrupted(*arguments: object) -> str:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    (tmp_path / "b").mkdir()
    monkeypatch.setattr(training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(RECIPE, pyramid, tmp_path / "b")
    monkeypatch.setattr(training, "_step", real)
    assert (tmp_path / "b" / "snapshot").exists()
    resumed = weights(trained(RECIPE, pyramid, tmp_path / "b"))
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
