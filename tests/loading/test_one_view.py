"""One view per image: which one depends on (seed, epoch, image) and on nothing else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from seit.loading import batches, epoch_size, rows_of
from seit.store import TokenDataset

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
import stores

IMAGES, VIEWS = 50, 4


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Every view has a label of its own: its row number."""
    classes = list(map(str, range(IMAGES * VIEWS)))
    w = stores.writer(tmp_path_factory.mktemp("views") / "out", views=VIEWS, classes=classes)
    rows = IMAGES * VIEWS
    w.write(0, "train", stores.random_ids(rows), np.arange(rows), stores.table(rows))
    return TokenDataset(w.commit())


def seen(views, *args, **options):
    """The rows that an epoch visits, in order, as their labels tell."""
    return np.concatenate([labels for _, _, labels in batches(views, *args, one_view=True, **options)])


def test_each_image_is_visited_once_an_epoch_in_one_of_its_views(views):
    rows = seen(views, 8, 1, 0)
    assert sorted(rows // VIEWS) == list(range(IMAGES))
    assert len(set(rows % VIEWS)) == VIEWS
    assert epoch_size(views, one_view=True) == IMAGES


def test_the_view_of_an_image_depends_on_seed_and_epoch_alone(views):
    drawn = {tuple(np.sort(seen(views, size, 1, 3))) for size in (4, 8, 50, 64)}
    assert len(drawn) == 1, "not on the size of a batch"
    drawn |= {tuple(np.sort(seen(views, 8, 1, 3, shuffle=False)))}
    assert len(drawn) == 1, "nor on where in the epoch the image stands"
    parts = [seen(views, 8, 1, 3, rank=rank, ranks=3) for rank in range(3)]
    drawn |= {tuple(np.sort(np.concatenate(parts)))}
    assert len(drawn) == 1, "nor on the number of ranks"
    whole = seen(views, 8, 1, 3)
    assert (seen(views, 8, 1, 3, start=24) == whole[24:]).all(), "nor on a resumption"
    others = {tuple(np.sort(seen(views, 8, seed, epoch))) for seed, epoch in ((1, 4), (2, 3))}
    assert len(drawn | others) == 3


def test_over_many_epochs_every_view_of_every_image_comes_equally_often(views):
    counts = np.zeros(IMAGES * VIEWS)
    epochs = 400
    for epoch in range(epochs):
        counts[rows_of(views, np.arange(IMAGES), 7, epoch, one_view=True)] += 1
    expected = epochs / VIEWS
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = IMAGES * (VIEWS - 1)
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees)


def test_without_it_every_view_is_a_row_of_the_epoch(views):
    rows = np.concatenate([labels for _, _, labels in batches(views, 8, 1, 0)])
    assert sorted(rows) == list(range(IMAGES * VIEWS))


def test_a_class_filter_that_breaks_images_apart_has_no_views_left_to_draw(views):
    assert epoch_size(views.subset(range(8)), one_view=True) == 2
    assert epoch_size(views.subset([0, 1, 2, 5]), one_view=True) == 4
