"""The recipe of the released code differs from the paper's in what its docstring names, and in nothing else."""

import torch

from seit import recipes
from seit.augment import Draws, Pipeline

CODEBOOK = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def _pipeline(name: str) -> Pipeline:
    return Pipeline(recipes.load(name).augment, (32, 32), (28, 28), 10, codebook=CODEBOOK)


def test_it_differs_from_the_papers_recipe_in_its_augmentations_alone() -> None:
    paper, released = recipes.load("token-in1k").to_json(), recipes.load("token-in1k-released").to_json()
    assert {name for name in paper if paper[name] != released[name]} == {"augment"}
    assert {one["name"] for one in paper["augment"]} == {one["name"] for one in released["augment"]}


def test_a_sixteenth_of_ids_get_synonyms_a_quarter_of_rows_a_swap_and_no_row_both() -> None:
    augment = _pipeline("token-in1k-released")
    ids, draws = torch.randint(0, 50, (2000, 32, 32)), Draws(0, 0, torch.arange(2000), 2000)
    synonym, swap = ((step(ids, draws, augment.setting) != ids).flatten(1) for step in augment.on_ids)
    assert abs(float(synonym.float().mean()) - 0.25 * 0.25) < 0.01
    assert abs(float(swap.any(1).float().mean()) - 0.25 * 7 / 8) < 0.04
    assert not bool((synonym.any(1) & swap.any(1)).any())


def test_noise_is_raw_comes_first_and_takes_half_of_a_group() -> None:
    augment = _pipeline("token-in1k-released")
    assert [step.name for step in augment.on_vectors] == ["noise", "cutmix"]
    draws = Draws(0, 0, torch.arange(64), 64)
    vectors = torch.zeros(64, 4, 28, 28).contiguous(memory_format=torch.channels_last)
    noisy, _ = augment.on_vectors[0](vectors, torch.zeros(64, 10), draws, augment.setting)
    touched = (noisy != 0).flatten(1).any(1)
    assert int(touched.sum()) == 32
    within = noisy[touched] - noisy[touched].mean((2, 3), keepdim=True)
    assert abs(float(within.std()) - 1) < 0.01


def test_the_papers_recipe_has_noise_last_and_in_units_of_the_codebook() -> None:
    augment = _pipeline("token-in1k")
    assert [step.name for step in augment.on_vectors] == ["cutmix", "noise"]
    assert abs(augment.on_vectors[1].size(augment.setting) - float(CODEBOOK.square().mean().sqrt())) < 1e-6
