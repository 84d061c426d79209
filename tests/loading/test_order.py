import numpy as np
import pytest

from seit.loading.order import shuffled, view_of


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 97, 1000, 4096, 4097])
def test_an_epoch_visits_every_row_once(size):
    assert (np.sort(shuffled(np.arange(size), size, 1, 2)) == np.arange(size)).all()


def test_positions_can_be_asked_for_in_any_pieces():
    whole = shuffled(np.arange(1000), 1000, 3, 4)
    picked = np.random.default_rng(0).integers(0, 1000, 50)
    assert (shuffled(picked, 1000, 3, 4) == whole[picked]).all()


def test_seed_and_epoch_each_give_another_order():
    orders = [shuffled(np.arange(500), 500, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    fixed_points = [(a == b).sum() for i, a in enumerate(orders) for b in orders[:i]]
    assert max(fixed_points) < 8


def test_ten_million_rows_need_no_list_of_rows():
    rows = shuffled(np.array([0, 9_999_999]), 10_000_000, 0, 0)
    assert len(set(rows.tolist())) == 2


@pytest.mark.parametrize("size", [7, 50, 1000])
def test_every_row_is_as_likely_at_every_place(size):
    # chi-square of (decile of position, decile of row) counts over epochs; 99.9% of fair shuffles lie below
    bins = min(size, 10)
    counts = np.zeros((bins, bins))
    epochs = 400
    place = np.arange(size) * bins // size
    for epoch in range(epochs):
        np.add.at(counts, (place, place[shuffled(np.arange(size), size, 5, epoch)]), 1)
    expected = np.outer(np.bincount(place), np.bincount(place)) * epochs / size
    degrees = (bins - 1) ** 2
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 3.5 * np.sqrt(2 * degrees) + 5


def test_neighbours_are_torn_apart():
    rows = shuffled(np.arange(100_000), 100_000, 0, 0)
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.02
    assert (np.abs(np.diff(rows)) == 1).mean() < 1e-4


def test_views_are_drawn_evenly_and_anew_each_epoch():
    first, second = (view_of(np.arange(9000), 3, 0, epoch) for epoch in (0, 1))
    assert (np.abs(np.bincount(first, minlength=3) - 3000) < 200).all()
    assert abs((first == second).mean() - 1 / 3) < 0.03
