import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_augment import one_hot_crop

from seit.augment import Draws, Setting
from seit.augment.random_crop import RandomCrop
from seit.augment.resize import centre_crop, crop_resize, lookup, resize
from seit.augment.resized_crop import ResizedCrop, resized_boxes
from seit.errors import RecipeError


def _ids(rows: int, height: int, width: int, codes: int) -> torch.Tensor:
    return torch.randint(0, codes, (rows, height, width), generator=torch.Generator().manual_seed(7))


def _setting(grid: tuple[int, int], size: tuple[int, int]) -> Setting:
    return Setting(grid, size, size)


def _table(codes: int, width: int) -> torch.Tensor:
    return torch.randn(codes, width, generator=torch.Generator().manual_seed(8))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_resize_of_looked_up_ids_is_the_one_hot_crop(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    size = (data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    boxes = []
    for _ in range(3):
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        boxes.append([data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w)), h, w])
    ids, table = _ids(3, height, width, 11), _table(11, 5)
    by_torch, by_kernel = (
        resize(lookup(ids, table), torch.tensor(boxes), size),
        crop_resize(ids, table, torch.tensor(boxes), size),
    )
    for out in (by_torch, by_kernel):
        assert out.shape == (3, 5, *size)
        for row, box in enumerate(boxes):
            assert (out[row].double() - one_hot_crop(ids[row], table, tuple(box), size)).abs().max() < 1e-5


def test_resize_at_the_papers_size_equals_interpolate_on_each_crop() -> None:
    ids, table = _ids(8, 32, 32, 391), _table(391, 32)
    boxes = resized_boxes(torch.rand(8, 22), (32, 32), (0.08, 1), (3 / 4, 4 / 3))
    for out in (resize(lookup(ids, table), boxes, (28, 28)), crop_resize(ids, table, boxes, (28, 28))):
        assert out.is_contiguous(memory_format=torch.channels_last)
        for row, (top, left, h, w) in enumerate(boxes.tolist()):
            crop = F.embedding(ids[row, top : top + h, left : left + w], table).movedim(-1, 0)[None]
            expected = F.interpolate(crop, size=(28, 28), mode="bicubic", align_corners=False)[0]
            assert (out[row] - expected).abs().max() < 1e-5


def test_boxes_follow_torchvisions_rule_row_by_row() -> None:
    u = Draws(0, 0, torch.arange(200), 8).uniform("rrc", 22).double()
    boxes = resized_boxes(u, (32, 24), (0.08, 1.0), (3 / 4, 4 / 3))
    for row, box in zip(u.tolist(), boxes.tolist(), strict=True):
        for attempt in range(10):
            area = 32 * 24 * (0.08 + 0.92 * row[attempt])
            low, high = math.log(3 / 4), math.log(4 / 3)
            aspect = math.exp(low + (high - low) * row[10 + attempt])
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= 24 and 0 < h <= 32:
                expected = [int(row[20] * (32 - h + 1)), int(row[21] * (24 - w + 1)), h, w]
                break
        else:
            expected = [0, 0, 32, 24]
        assert box == expected


def test_boxes_that_never_fit_fall_back_to_the_largest_centred_one_of_an_allowed_ratio() -> None:
    boxes = resized_boxes(torch.rand(4, 22), (8, 32), (1.0, 1.0), (3 / 4, 4 / 3))
    assert boxes.tolist() == [[0, 10, 8, 11]] * 4  # (32 - round(8 * 4/3)) // 2
    boxes = resized_boxes(torch.rand(4, 22), (32, 8), (1.0, 1.0), (3 / 4, 4 / 3))
    assert boxes.tolist() == [[10, 0, 11, 8]] * 4


def test_boxes_cover_the_scale_and_the_whole_grid() -> None:
    u = Draws(0, 0, torch.arange(4000), 8).uniform("rrc", 22)
    boxes = resized_boxes(u, (32, 32), (0.08, 1.0), (3 / 4, 4 / 3)).double()
    share = boxes[:, 2] * boxes[:, 3] / 1024
    assert abs(float(share.mean()) - 0.5) < 0.05
    assert float(share.min()) < 0.1
    assert (boxes[:, :2] + boxes[:, 2:]).amax(0).tolist() == [32, 32]
    assert boxes[:, :2].amin(0).tolist() == [0, 0]


def test_random_crop_cuts_every_place_and_resizes_nothing() -> None:
    table = torch.arange(1024.0)[:, None]
    ids = torch.arange(1024).view(1, 32, 32).expand(500, -1, -1)
    out = RandomCrop()(ids, table, Draws(0, 0, torch.arange(500), 500), _setting((32, 32), (28, 26)))[:, 0].long()
    top, left = out[:, 0, 0] // 32, out[:, 0, 0] % 32
    assert sorted(set(top.tolist())) == [0, 1, 2, 3, 4]
    assert sorted(set(left.tolist())) == [0, 1, 2, 3, 4, 5, 6]
    for row in range(20):
        y, x = int(top[row]), int(left[row])
        assert torch.equal(out[row], ids[row, y : y + 28, x : x + 26])


def test_every_row_of_the_kernel_is_the_same_in_any_split_and_memory_order() -> None:
    ids, table = _ids(5, 9, 12, 11), _table(11, 5)
    boxes = torch.tensor([[0, 0, 9, 12], [2, 3, 1, 1], [4, 0, 5, 2], [8, 11, 1, 1], [0, 1, 7, 11]])
    whole = crop_resize(ids, table, boxes, (8, 7))
    turned = ids.transpose(1, 2).contiguous().transpose(1, 2)
    wide = table.repeat(1, 2)[:, :5]
    for row in range(5):
        part = slice(row, row + 1)
        assert torch.equal(crop_resize(turned[part], wide, boxes[part], (8, 7))[0], whole[row])


@pytest.mark.parametrize("lost", [-1, 11])
def test_the_kernel_refuses_ids_that_the_table_lacks(lost: int) -> None:
    ids = torch.tensor([[[0, lost], [0, 0]]])
    with pytest.raises(RecipeError, match=r"crop: ids from .* to .*; give ids of the table's 11 codes"):
        crop_resize(ids, _table(11, 5), torch.tensor([[0, 0, 2, 2]]), (2, 2))


def test_centre_crop_takes_rows_and_columns_2_to_29_of_32() -> None:
    ids, table = _ids(2, 32, 32, 391), _table(391, 32)
    out = centre_crop(ids, table, (28, 28))
    assert torch.equal(out, table[ids[:, 2:30, 2:30]].movedim(-1, 1))
    assert out.is_contiguous(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(centre_crop(images, None, (28, 28)), images[:, :, 2:30, 2:30])


def test_centre_crop_of_a_larger_view_is_resized() -> None:
    ids, table = _ids(2, 32, 32, 391), _table(391, 32)
    out = centre_crop(ids, table, (14, 14), (28, 28))
    for row in range(2):
        assert (out[row].double() - one_hot_crop(ids[row], table, (2, 2, 28, 28), (14, 14))).abs().max() < 1e-5


def test_images_are_cropped_like_vectors() -> None:
    images = torch.rand(3, 3, 32, 24)
    draws = Draws(0, 0, torch.arange(3), 3)
    out = ResizedCrop()(images, None, draws, _setting((32, 24), (28, 21)))
    boxes = resized_boxes(draws.uniform("resized_crop", 22), (32, 24), (0.08, 1.0), (3 / 4, 4 / 3))
    for row, (top, left, h, w) in enumerate(boxes.tolist()):
        crop = images[row : row + 1, :, top : top + h, left : left + w]
        expected = F.interpolate(crop, size=(28, 21), mode="bicubic", align_corners=False)[0]
        assert (out[row] - expected).abs().max() < 1e-5


def test_gradients_reach_a_learned_table() -> None:
    table = _table(11, 5).requires_grad_()
    out = ResizedCrop()(_ids(2, 8, 8, 11), table, Draws(0, 0, torch.arange(2), 2), _setting((8, 8), (6, 6)))
    out.square().sum().backward()
    assert table.grad is not None
    assert float(table.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ResizedCrop(scale=(0.5, 0.1)),
            r"resized_crop.scale: a scale of 0.5 to 0.1; choose bounds in \(0, 1\]",
        ),
        (lambda: ResizedCrop(ratio=(0.0, 1.0)), "resized_crop.ratio: a ratio of 0.0 to 1.0; choose bounds above 0"),
        (lambda: centre_crop(_ids(1, 8, 8, 4), _table(4, 2), (9, 9)), "a crop of 9x9 from a grid of 8x8"),
        (lambda: centre_crop(torch.zeros(1, 1, 8, 8).long(), _table(4, 2), (8, 8)), r"give ids \[B, h, w\]"),
    ],
)
def test_wrong_crops_are_refused_in_one_sentence(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
