"""Each view is Pillow's own crop and resize of the box that is recorded; crops depend on seed, name and number
alone."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from seit.errors import ImageError
from seit.images import Bad, Facts, Preparation, Views, prepare
from seit.images import Image as Listed

SQUASH = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


def picture():
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).resize((180, 120))


def listed(name="a.png", image=None, **views):
    file = io.BytesIO()
    (image or picture()).save(file, "PNG")
    return Listed(name, "train", 0, file.getvalue, **views)


def made(views, *images, preprocessing=SQUASH):
    out = np.full((len(images) * views.count, 32, 32, 3), 77, np.uint8)
    return out, prepare(images, Preparation(preprocessing, views), out)


@pytest.mark.parametrize("policy", ["plain", "flip", "crops:4", "ten-crop"])
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_view_is_the_recorded_box_resized_and_mirrored(policy, resize):
    views = Views.of(policy, seed=3)
    out, [facts] = made(views, listed(), preprocessing=SQUASH | {"resize": resize})
    assert len(out) == len(facts.boxes) == len(facts.flips) == views.count
    for view, (top, left, height, width), flip in zip(out, facts.boxes, facts.flips, strict=True):
        box = (left, top, left + width, top + height)
        if resize == "crop" and views.whole:
            assert box == (0, 0, 180, 120)
            expected = picture().resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
        else:
            expected = picture().crop(box).resize((32, 32), Image.Resampling.BICUBIC)
        expected = np.asarray(expected)[:, ::-1] if flip else np.asarray(expected)
        assert np.array_equal(view, expected)


def test_ten_crops_are_four_corners_and_the_centre_each_mirrored():
    _, [facts] = made(Views.of("ten-crop"), listed())
    side = 105  # 7/8 of 120
    corners = [(0, 0), (0, 75), (15, 0), (15, 75), (7, 37)]
    assert facts.boxes == [(*corner, side, side) for corner in corners for _ in range(2)]
    assert facts.flips == [False, True] * 5


def test_random_crops_depend_on_seed_name_and_number_alone():
    boxes = made(Views.of("crops:3", 5), listed("a"), listed("b"))[1]
    alone = made(Views.of("crops:3", 5), listed("b"))[1]
    assert boxes[1] == alone[0]
    assert boxes[0].boxes != boxes[1].boxes
    assert made(Views.of("crops:4", 5), listed("b"))[1][0].boxes[:3] == alone[0].boxes
    assert made(Views.of("crops:3", 6), listed("b"))[1][0].boxes != alone[0].boxes


def test_random_crops_cover_8_to_100_percent_at_3_to_4_and_4_to_3():
    views = Views.of("crops:1000", 0)
    boxes = np.array(views.boxes("x", 500, 375))
    shares, ratios = boxes[:, 2] * boxes[:, 3] / (500 * 375), boxes[:, 3] / boxes[:, 2]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 375).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 500).all()
    assert 0.075 < shares.min() < 0.1
    assert 0.9 < shares.max() <= 1
    assert 0.74 < ratios.min() < 0.77
    assert 1.3 < ratios.max() < 1.35
    # The logarithm of the sides' ratio is drawn evenly, but large wide boxes do not fit and are drawn again.
    assert abs(np.log(ratios).mean()) < 0.1 * math.log(4 / 3) + 0.05
    for width, height in ((1, 1), (1, 900), (900, 1), (2, 3)):
        for top, left, h, w in views.boxes("x", width, height)[:50]:
            assert 0 <= top <= top + h <= height
            assert 0 <= left <= left + w <= width
            assert min(h, w) >= 1


def test_boxes_of_a_list_are_taken_and_one_outside_is_bad():
    views = Views.of("listed", listed=2)
    good = listed(boxes=((0, 0, 120, 180), (10, 20, 30, 40)), flips=(False, True))
    outside = listed(boxes=((0, 0, 121, 180), (0, 0, 1, 1)), flips=(False, False))
    out, [facts, bad] = made(views, good, outside)
    assert isinstance(facts, Facts)
    assert np.array_equal(out[1][:, ::-1], np.asarray(picture().crop((20, 10, 60, 40)).resize((32, 32), 3)))
    assert isinstance(bad, Bad)
    assert "lies outside its 180 x 120 pixels" in bad.reason
    assert not out[2:].any()


@pytest.mark.parametrize("policy", ["", "plane", "crops", "crops:", "crops:0", "crops:1025", "crops:-1", "listed"])
def test_unknown_policies_are_refused(policy):
    with pytest.raises(ImageError, match="--views"):
        Views.of(policy)


def test_what_is_frozen_is_said():
    assert Views.of("plain").frozen == "none"
    assert "mirror" in Views.of("flip").frozen
    assert "5 random resized crops of each image (seed 9)" in Views.of("crops:5", 9).frozen
