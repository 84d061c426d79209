import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_augment import nearest_codes, swapped

from seit.augment import Draws, Setting, synonyms
from seit.augment.flip import Flip
from seit.augment.swap import Swap, exchange, squares
from seit.augment.synonym import Synonym
from seit.errors import RecipeError


def _draws(rows: int, seed: int = 0) -> Draws:
    return Draws(seed, 0, torch.arange(rows), rows)


def _setting(codebook: torch.Tensor | None = None, mirror=None) -> Setting:
    return Setting((8, 8), (8, 8), (8, 8), codebook, mirror)


def test_synonyms_are_the_five_nearest_other_codes() -> None:
    table = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    found = synonyms(table)
    assert found.shape == (40, 5)
    assert found.tolist() == [nearest_codes(table, code, 5) for code in range(40)]


def test_equal_distances_go_to_the_lower_id_and_small_codebooks_have_fewer_synonyms() -> None:
    assert synonyms(torch.tensor([[0.0], [1.0], [-1.0]])).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_a_codebook_of_one_code_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"synonym: a codebook of one code.*leave it out of augment"):
        synonyms(torch.zeros(1, 4))


def test_synonym_replaces_each_id_with_its_probability_by_each_synonym_alike() -> None:
    codebook = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(0, 50, (64, 16, 16), generator=torch.Generator().manual_seed(2))
    out, table = Synonym(0.25)(ids, _draws(64), _setting(codebook)), synonyms(codebook)
    changed = out != ids
    assert abs(float(changed.float().mean()) - 0.25) < 0.015
    place = (table[ids[changed]] == out[changed][:, None]).int()
    assert bool((place.sum(1) == 1).all())  # every new id is one of the old one's five
    assert float((place.float().mean(0) - 0.2).abs().max()) < 0.03


def test_synonym_with_probability_0_changes_nothing_and_with_1_everything() -> None:
    codebook = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(0, 50, (8, 7, 9), generator=torch.Generator().manual_seed(2))
    assert torch.equal(Synonym(0.0)(ids, _draws(8), _setting(codebook)), ids)
    assert bool((Synonym(1.0)(ids, _draws(8), _setting(codebook)) != ids).all())


@settings(deadline=None, max_examples=40)
@given(st.integers(4, 33), st.integers(4, 33), st.integers(0, 10**6))
def test_swap_exchanges_two_squares_that_do_not_overlap(height: int, width: int, seed: int) -> None:
    u = Draws(seed, 0, torch.arange(16), 16).uniform("swap", 66).numpy()
    side, corners = squares(u[:, 1], u[:, 2:], height, width)
    ids = torch.arange(16 * height * width).view(16, height, width)
    out = exchange(ids, np.arange(16), side, corners)
    for row in range(16):
        (a, b), s = corners[row].tolist(), int(side[row])
        assert 0 <= s <= min(height, width) / 4
        assert all(0 <= y <= height - s and 0 <= x <= width - s for y, x in (a, b))
        assert s == 0 or abs(a[0] - b[0]) >= s or abs(a[1] - b[1]) >= s
        assert torch.equal(out[row], swapped(ids[row], s, tuple(a), tuple(b)))
        assert torch.equal(out[row].flatten().sort().values, ids[row].flatten())  # no id is lost


def test_swap_takes_its_share_of_rows_every_side_and_the_last_row_and_column() -> None:
    u = Draws(0, 0, torch.arange(8000), 16).uniform("swap", 66).numpy()
    side, corners = squares(u[:, 1], u[:, 2:], 32, 32)
    assert abs(np.bincount(side, minlength=8) / 8000 - 1 / 8).max() < 0.02  # 0..7 of 32, each an eighth
    ends = corners.max(1) + side[:, None]
    assert ends.max(0).tolist() == [32, 32]
    ids = torch.arange(1024).view(1, 32, 32).expand(2000, -1, -1)
    touched = (Swap(0.25)(ids, _draws(2000), _setting()) != ids).flatten(1).any(1)
    assert abs(float(touched.float().mean()) - 0.25 * 7 / 8) < 0.04


def test_released_choice_gives_a_row_synonyms_or_a_swap_but_never_both() -> None:
    given = _setting(torch.randn(1024, 4, generator=torch.Generator().manual_seed(1)))
    ids = torch.arange(1024).view(1, 32, 32).expand(1000, -1, -1)
    draws = _draws(1000)
    one = (Synonym(1.0, (0.0, 0.25))(ids, draws, given) != ids).flatten(1).any(1)
    other = (Swap(1.0, (0.25, 0.5))(ids, draws, given) != ids).flatten(1).any(1)
    assert not bool((one & other).any())
    assert abs(float(one.float().mean()) - 0.25) < 0.06
    assert abs(float(other.float().mean()) - 0.25 * 7 / 8) < 0.06


def test_flip_mirrors_the_grid_and_maps_ids_through_the_mirror_table() -> None:
    ids = torch.tensor([[[0, 1, 2], [2, 2, 1]]])
    mirror = torch.tensor([0, 2, 1])
    assert Flip(1.0)(ids, _draws(1), _setting(torch.zeros(3, 1), lambda: mirror)).tolist() == [
        [[1, 2, 0], [2, 1, 1]]
    ]
    images = torch.rand(400, 3, 2, 5)
    out = Flip(0.5)(images, _draws(400), _setting())
    changed = (out != images).flatten(1).any(1)
    assert abs(float(changed.float().mean()) - 0.5) < 0.1
    assert torch.equal(out[changed], images[changed].flip(-1))


@pytest.mark.parametrize("make", [lambda: Synonym(1.5), lambda: Swap(-0.1), lambda: Flip(2.0)])
def test_probabilities_outside_0_to_1_are_refused(make) -> None:
    with pytest.raises(RecipeError, match=r"a probability of .*; choose a value from 0 to 1"):
        make()
