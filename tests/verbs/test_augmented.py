"""The sheet of augmentations shows what training does, in the sizes that a decoder takes."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import seit
from seit import recipes
from seit.augment import Draws
from seit.store import TokenDataset
from seit.verbs import augmented
from seit.verbs.show import decode_rows
from seit.verbs.tokenize import tokenizer_of

PARTS = ["channel-wise part of noise", "full-size part of noise"]
STEPS = ["synonym", "swap", "resized_crop", "cutmix", *PARTS, "all"]


@pytest.fixture(scope="module")
def sheet(tokens, tmp_path_factory):
    """The tiles of a sheet of four rows, and what the verb returned."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmented, "write_sheet", lambda path, tiles, *more, **rest: drawn.extend(tiles))
        result = seit.show(tokens, tmp_path_factory.mktemp("sheet") / "s.png", augment=True, seed=2)
    return drawn, result


@pytest.fixture(scope="module")
def decoded(tokens, sheet):
    dataset = TokenDataset(tokens)
    names = dataset.names(np.arange(len(dataset)))
    rows = np.array([names.index(name) for name in sheet[1]["rows"]])
    return decode_rows(dataset, tokenizer_of(dataset), rows)


def test_each_augmentation_of_the_recipe_has_a_row_and_each_channel_a_tile(sheet, tokens):
    tiles, result = sheet
    channels = TokenDataset(tokens).codebook.shape[1]
    assert len(result["rows"]) == 4
    assert len(tiles) == 4 * len(STEPS) + channels
    for place, step in enumerate(STEPS):
        for row in range(4):
            caption = tiles[4 * place + row].caption
            assert caption[0].startswith(step)
            assert caption[1].startswith(result["rows"][row])
    steps = [step.split("(")[0] for step in result["pipeline"].split(" -> ")]
    assert steps == ["synonym", "swap", "resized_crop", "cutmix", "noise", "smoothing"]
    recipe = recipes.load("token-in1k")
    assert recipe.augment[0].text(augmented.Setting((8, 8), (8, 8), (8, 8))) in tiles[0].caption[0]


def test_a_tile_shows_the_decoded_row_first_and_the_same_size_after(sheet, decoded):
    tiles, _ = sheet
    for place, tile in enumerate(tiles):
        row = place % 4 if place < 4 * len(STEPS) else 0
        assert (tile.pictures[0] == decoded[row]).all()
        assert tile.pictures[1].shape == decoded[row].shape


def test_cutmix_says_how_much_of_whom_a_row_holds():
    table = torch.randn(100, 6)
    ids = torch.randint(0, 100, (3, 16, 16))
    names, before = ["a", "b", "c"], augmented._lookup(ids, table)
    augment = augmented._recipe_pipeline(recipes.load("token-in1k"), table, (16, 16))
    steps = augmented._steps(augment, ids, table, Draws(5, 0, torch.arange(3), 3), names)
    said, mixed = next(step[1:] for step in steps if step[0].startswith("cutmix"))
    own = (mixed == before).all(1).flatten(1).float().mean(1)
    assert 0.1 < float(own[0]) < 0.9
    for row, (name, other) in enumerate((("a", "b"), ("b", "a"))):
        parts = sorted([(float(own[row]), name), (1 - float(own[row]), other)], reverse=True)
        # two equal cells are as rare as one in 100
        assert [int(share) for share in re.findall(r"(\d+)%", said[row])] == pytest.approx(
            [100 * share for share, _ in parts], abs=3
        )
        assert re.findall(r"% (\w)", said[row]) == [part for _, part in parts]
    assert said[2] == "100% c"


def test_swap_and_synonym_count_the_ids_that_differ(sheet, decoded):
    tiles, _ = sheet
    for step in ("synonym", "swap"):
        for row in range(4):
            tile = tiles[4 * STEPS.index(step) + row]
            count = int(re.search(r": (\d+) of 64 ids", tile.caption[1])[1])
            assert (count > 0) == bool((tile.pictures[1] != decoded[row]).any())


def test_a_cropped_grid_is_resized_back_to_the_decoders():
    vectors = torch.randn(2, 3, 28, 28)
    back = augmented._whole_grid(vectors, (32, 32))
    wanted = torch.nn.functional.interpolate(vectors, size=(32, 32), mode="bicubic", align_corners=False)
    assert torch.allclose(back, wanted, atol=1e-5)
    assert augmented._whole_grid(vectors, (28, 28)) is vectors


def test_the_constant_goes_into_one_channel_of_each_picture():
    table = torch.randn(5, 40)
    ids = torch.randint(0, 5, (1, 4, 4))
    shifted = augmented._shifted(ids, table, 0.5) - augmented._lookup(ids, table)
    assert torch.allclose(shifted.mean((2, 3)), 0.5 * torch.eye(32, 40), atol=1e-6)


def test_the_command_draws_one_png_and_prints_the_pipeline(cli, tokens, tmp_path):
    code, out, _ = cli("show", tokens, "--augment", "--rows", 1, "--out", tmp_path / "a.png")
    assert code == 0
    assert "\nsynonym(probability=0.25) -> swap(probability=0.25) -> resized_crop(" in out
    width, height = Image.open(tmp_path / "a.png").size
    assert width > 256
    assert height > 7 * 128
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_any_recipe_is_drawn_with_settings(cli, tokens, tmp_path):
    line = ("show", tokens, "--augment", "--rows", 2, "--out", tmp_path / "a.png", "--recipe", "mini")
    code, out, _ = cli(*line, "--set", "noise.std=0.3", "--set", "random_crop.x=1")
    assert code == 1
    code, out, _ = cli(*line, "--set", "noise.std=0.3", "--set", "cutmix.probability=0")
    assert code == 0
    assert "\nflip(probability=0.5) -> centre_crop(8x8 to 8x8) -> noise(probability=1, std=0.3, unit=rms" in out


def test_originals_beside_augmentations_are_refused(cli, tokens, shapes, tmp_path):
    code, _, err = cli("show", tokens, "--augment", "--source", shapes, "--out", tmp_path / "a.png")
    assert code == 1
    assert "originals are not drawn beside augmentations; leave out source or augment" in err
    assert not list(tmp_path.iterdir())
