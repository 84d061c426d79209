"""The recipe of the released code differs from the paper's in what its docstring names, and in nothing else."""

import torch

from seit import recipes
from seit.augment import Draws, pipeline


def _pipeline(name: str):
    recipe = recipes.load(name)
    fields = ("synonym", "swap", "crop", "cutmix", "noise", "noise_std", "noise_unit", "released", "smoothing")
    codebook = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    settings = {field: getattr(recipe, field) for field in fields}
    return pipeline((32, 32), (28, 28), 10, codebook=codebook, **settings), codebook


def test_it_differs_from_the_papers_recipe_in_two_settings() -> None:
    paper, released = recipes.load("token-in1k").to_json(), recipes.load("token-in1k-released").to_json()
    assert {name for name in paper if paper[name] != released[name]} == {"released", "noise_unit"}


def test_a_sixteenth_of_ids_get_synonyms_and_no_row_is_also_swapped() -> None:
    augment, _ = _pipeline("token-in1k-released")
    ids, draws = torch.randint(0, 50, (2000, 32, 32)), Draws(0, 0, torch.arange(2000), 2000)
    synonym, swap = ((step(ids, draws) != ids).flatten(1) for step in augment.on_ids)
    assert abs(float(synonym.float().mean()) - 0.25 * 0.25) < 0.01
    assert not bool((synonym.any(1) & swap.any(1)).any())


def test_noise_is_raw_comes_first_and_takes_half_of_a_batch() -> None:
    augment, _ = _pipeline("token-in1k-released")
    assert [step.name for step in augment.on_vectors] == ["noise", "cutmix"]
    draws = Draws(0, 0, torch.arange(64), 64)
    vectors = torch.zeros(64, 4, 28, 28).contiguous(memory_format=torch.channels_last)
    noisy, _ = augment.on_vectors[0](vectors, torch.zeros(64, 10), draws)
    touched = (noisy != 0).flatten(1).any(1)
    assert int(touched.sum()) == 32
    within = noisy[touched] - noisy[touched].mean((2, 3), keepdim=True)
    assert abs(float(within.std()) - 1) < 0.01


def test_the_papers_recipe_has_noise_last_and_in_units_of_the_codebook() -> None:
    augment, codebook = _pipeline("token-in1k")
    assert [step.name for step in augment.on_vectors] == ["cutmix", "noise"]
    assert abs(augment.on_vectors[1].unit - float(codebook.square().mean().sqrt())) < 1e-6
