"""Pixels that are drawn anew: a function of (seed, epoch, position), whatever loads them; repeats lie apart."""

from __future__ import annotations

import random
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from seit.augment import Draws
from seit.augment.erasing import Erasing, box
from seit.augment.flip import Flip
from seit.augment.from_file import from_file
from seit.augment.rand_augment import RandAugment
from seit.augment.random_crop import RandomCrop
from seit.augment.resized_crop import ResizedCrop, resized_boxes
from seit.errors import ImageError, RecipeError
from seit.images import decode, open_source
from seit.loading import batches, drawn, rows_of
from seit.loading.drawn import DrawnPixels

AUGMENT = (ResizedCrop(), Flip(0.5), RandAugment(9, 0.5), Erasing(0.25))


def rows(shapes, augment=AUGMENT):
    return DrawnPixels(open_source(shapes), from_file(augment, (24, 24))[0], (24, 24))


def test_a_view_depends_on_seed_epoch_and_position_alone(shapes, monkeypatch):
    monkeypatch.setattr(drawn, "_cores", lambda: 2)
    whole = list(batches(rows(shapes), 20, 3, 1))
    monkeypatch.setattr(drawn, "_cores", lambda: 1)
    rest = list(batches(rows(shapes), 20, 3, 1, start=20, rank=1, ranks=2))
    positions = np.concatenate([batch[0] for batch in whole])
    images = np.concatenate([batch[1] for batch in whole])
    labels = np.concatenate([batch[2] for batch in whole])
    assert positions.tolist() == list(range(60))
    assert images.dtype == np.uint8
    assert images.shape == (60, 3, 24, 24)
    for part, found, wanted in rest:
        assert (found == images[part]).all()
        assert (wanted == labels[part]).all()
    assert sum(len(part) for part, _, _ in rest) == 20
    assert (next(batches(rows(shapes), 20, 3, 2))[1] != images[:20]).any()


def test_the_crop_is_torchvisions_of_the_same_box_and_half_are_mirrored(shapes):
    picture = decode((source := open_source(shapes))[0].read(), source[0].name)
    # Without RandAugment nothing asks for the whole picture, so one of magnitude 0 stands in.
    change, rest = from_file((ResizedCrop(), Flip(0.5), RandAugment(0, 0)), (24, 24))
    assert rest == ()
    bare = type(change)(change.crop, change.flip, (), change.size)
    mirrored = 0
    for position in range(40):
        draws = Draws(3, 1, torch.tensor([position]), 1)
        u = draws.uniform("resized_crop", 22)
        boxes = resized_boxes(u, (picture.height, picture.width), (0.08, 1.0), (3 / 4, 4 / 3))
        top, left, height, width = boxes[0].tolist()
        wanted = functional.resized_crop(
            picture, top, left, height, width, [24, 24], InterpolationMode.BICUBIC, antialias=True
        )
        found = bare(picture, 3, 1, position)
        if draws.uniform("flip", 1) < 0.5:
            mirrored += 1
            found = found[:, ::-1]
        assert (found == np.array(wanted)).all()
    assert 10 < mirrored < 30


def test_rand_augment_changes_an_image_by_its_seed_alone():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    one = RandAugment()
    assert (one(image, 5) == one(image, 5)).all()
    # Enough seeds that every operation comes at its strongest.
    different = {one(image, seed).tobytes() for seed in range(400)}
    assert len(different) > 200
    assert all(one(image, seed).shape == image.shape for seed in range(5))


def test_rand_augment_leaves_the_programs_own_random_numbers_alone():
    image, change = np.zeros((24, 24, 3), np.uint8), RandAugment()
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    change(image, 5)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_what_loads_the_whole_picture_must_be_cropped_by_a_resized_crop():
    with pytest.raises(RecipeError, match=r"rand_augment: works on views cut from the whole picture.*resized_crop"):
        from_file((RandomCrop(), RandAugment()), (8, 8))
    assert from_file((Flip(0.5), Erasing()), (8, 8)) == (None, (Flip(0.5), Erasing()))


def test_erasing_fills_a_box_of_a_quarter_with_standard_normal_noise():
    images = torch.full((2000, 3, 32, 32), 7.0)
    draws = Draws(0, 0, torch.arange(2000), batch=100)
    found, _ = Erasing(0.25)(images.clone(), torch.zeros(2000, 1), draws, None)
    erased = (found != 7).any(1)
    share = erased.flatten(1).float().mean(1)
    assert (share > 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert 0.01 < share[share > 0].min() < share.max() < 0.36
    values = found.movedim(1, -1)[erased]
    assert values.mean(0).tolist() == pytest.approx([0, 0, 0], abs=0.02)
    assert values.std(0).tolist() == pytest.approx([1, 1, 1], abs=0.02)
    for row in (share > 0).nonzero()[:20, 0].tolist():  # one rectangle each
        ys, xs = erased[row].nonzero().unbind(1)
        assert len(ys) == (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1)
    assert box([0.5] * 4, 100, 100)[2] * box([0.5] * 4, 100, 100)[3] == pytest.approx(0.1767 * 1e4, rel=0.02)
    part, _ = Erasing(0.25)(images[50:70].clone(), torch.zeros(20, 1), draws.rows(slice(50, 70)), None)
    assert torch.equal(part, found[50:70])


def test_an_image_that_cannot_be_read_is_one_clear_error(tmp_path, shapes):
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    broken = folder / "train" / "circle" / "05.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"05\.jpg: not a picture of a known format") as caught:
        list(batches(rows(folder), 20, 3, 1))
    assert "Traceback" not in str(caught.value)


class Many:
    """1000 rows."""

    views = 1

    def __len__(self):
        return 1000


@pytest.mark.parametrize(("repeats", "batch"), [(3, 64), (3, 63), (2, 10), (4, 100)])
def test_repeats_of_an_image_share_a_batch_but_never_a_pair(repeats, batch):
    positions = np.arange(1000 // batch * batch)
    found = rows_of(Many(), positions, 0, 0, repeats=repeats, batch_size=batch).reshape(-1, batch)
    seen = set()
    for one in found:
        counts = Counter(one.tolist())
        assert len(counts) == -(-batch // repeats)
        assert set(counts.values()) <= {repeats, repeats - 1}
        assert not seen & counts.keys()
        seen |= counts.keys()
        pairs = one[: batch // 2 * 2].reshape(-1, 2)
        assert (pairs[:, 0] != pairs[:, 1]).all()
    again = rows_of(Many(), positions[batch : 2 * batch], 0, 0, repeats=repeats, batch_size=batch)
    assert (again == found[1]).all()
