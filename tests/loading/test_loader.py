import sys
from pathlib import Path

import numpy as np
import pytest

from seit.errors import StoreError
from seit.loading import Resident, batches, epoch_size
from seit.store import TokenDataset

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
import stores


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset(stores.make(tmp_path_factory.mktemp("loader") / "out", train=101)[0], "train")


def flat(data, *args, **options):
    found = list(batches(data, *args, **options))
    return tuple(np.concatenate([batch[i] for batch in found]) for i in range(3))


def test_an_epoch_yields_every_row_once_with_its_label(data):
    positions, ids, labels = flat(data, 16, 0, 0)
    everything, all_labels = data[:]
    assert positions.tolist() == list(range(101))
    assert sorted(row.tobytes() for row in ids) == sorted(row.tobytes() for row in everything)
    by_ids = {row.tobytes(): label for row, label in zip(everything, all_labels, strict=True)}
    assert all(by_ids[row.tobytes()] == label for row, label in zip(ids, labels, strict=True))
    assert (ids != everything).any()


def test_stored_order_without_shuffling(data):
    assert (flat(data, 7, 0, 0, shuffle=False)[1] == data[:][0]).all()


def test_resuming_in_mid_epoch_continues_exactly(data):
    whole = flat(data, 16, 3, 5)
    rest = flat(data, 8, 3, 5, start=48)
    assert all((a[48:] == b).all() for a, b in zip(whole, rest, strict=True))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_sequence_of_global_batches_is_the_same_for_any_number_of_ranks(data, ranks):
    one = list(batches(data, 16, 3, 5, start=5))
    parts = [list(batches(data, 16, 3, 5, start=5, rank=r, ranks=ranks)) for r in range(ranks)]
    for step, whole in enumerate(one):
        together = [np.concatenate([part[step][i] for part in parts]) for i in range(3)]
        order = together[0].argsort()
        assert all((found[order] == wanted).all() for found, wanted in zip(together, whole, strict=True))
        assert all(len(part[step][0]) >= 4 for part in parts if len(whole[0]) == 16)


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_rank_takes_whole_pairs_which_cutmix_mixes(data, ranks):
    for rank in range(ranks):
        for step, (positions, _, _) in enumerate(batches(data, 16, 3, 5, rank=rank, ranks=ranks)):
            places = positions - 16 * step
            pairs = places[: len(places) // 2 * 2].reshape(-1, 2)  # 101 rows: the last one has no partner
            assert (pairs[:, 0] % 2 == 0).all()
            assert (pairs[:, 1] == pairs[:, 0] + 1).all()


def test_drop_last_leaves_out_an_incomplete_batch(data):
    assert [len(batch[0]) for batch in batches(data, 16, 0, 0, drop_last=True)] == [16] * 6
    assert list(batches(data, 200, 0, 0, drop_last=True)) == []


def test_one_view_per_image_visits_every_image_once(tmp_path):
    w = stores.writer(tmp_path / "out", views=4)
    ids = stores.random_ids(80)
    w.write(0, "train", ids, np.arange(80) % 2, stores.table(80))
    views = TokenDataset(w.commit())
    _, seen, _ = flat(views, 8, 1, 1, one_view=True)
    image = {row.astype(np.int64).tobytes(): i // 4 for i, row in enumerate(ids)}
    restored = views.used_codes[seen].astype(np.int64)
    assert sorted(image[row.tobytes()] for row in restored) == list(range(20))
    assert epoch_size(views, one_view=True) == 20
    assert epoch_size(views) == 80


def test_a_resident_set_yields_the_same_batches(data):
    resident = Resident(data)
    assert resident.plain.dtype == np.uint16
    assert all((a == b).all() for a, b in zip(flat(data, 16, 2, 0), flat(resident, 16, 2, 0), strict=True))


def test_stopping_early_does_not_hang(data):
    for _ in batches(data, 4, 0, 0):
        break


def test_impossible_requests_are_refused(data):
    with pytest.raises(StoreError, match="start 102 of 101 positions"):
        next(batches(data, 4, 0, 0, start=102))
    with pytest.raises(StoreError, match="batch size 2 on rank 0 of 2; give each rank at least two rows"):
        next(batches(data, 2, 0, 0, ranks=2))
