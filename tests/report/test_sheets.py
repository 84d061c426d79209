import numpy as np
import pytest
from invented import HOSTILE, rough, small
from PIL import Image

from seit.errors import SeitError
from seit.report.pictures import Tile
from seit.report.sheets import write_sheet


def test_tiny_pictures_are_enlarged_pixel_by_pixel_originals_beside_decoded(tmp_path):
    original, decoded = small(1), small(2)
    sheet = np.array(Image.open(write_sheet(tmp_path / "s.png", [Tile((original, decoded), ("a.jpg", "62 B"))])))
    for place, picture in ((32, original), (32 + 128 + 4, decoded)):
        want = np.kron(picture, np.ones((4, 4, 1), np.uint8))
        assert np.array_equal(sheet[32 : 32 + 128, place : place + 128], want)


def test_a_squashed_view_is_drawn_in_its_originals_shape(tmp_path):
    photo = Image.new("RGB", (400, 200), "red")
    sheet = np.array(Image.open(write_sheet(tmp_path / "s.png", [Tile((photo, rough(photo, 256)))])))
    red = np.all(np.abs(sheet.astype(int) - [255, 0, 0]) < 3, axis=2)
    rows, columns = np.nonzero(red.any(1))[0], np.nonzero(red.any(0))[0]
    assert np.ptp(rows) + 1 == 128
    assert np.ptp(columns) + 1 == 2 * 256 + 4


def test_only_a_wrong_tile_is_framed(tmp_path):
    for mark, framed in ((None, False), (True, False), (False, True)):
        tile = Tile((small(0),), ("cat",), mark=mark)
        sheet = np.array(Image.open(write_sheet(tmp_path / "s.png", [tile])))
        assert (sheet[28, 60] < 100).all() == framed


def test_captions_are_inside_the_sheet_whatever_they_hold(tmp_path):
    tiles = [Tile((small(i),), (HOSTILE * 9, "日本語 наука " * 20)) for i in range(5)]
    path = write_sheet(tmp_path / "s.png", tiles, HOSTILE * 9, ("original",), across=2)
    sheet = np.array(Image.open(path).convert("L"))
    assert (sheet[:, :28] == 255).all()
    assert (sheet[:, -28:] == 255).all()


def test_a_last_row_may_be_short_and_a_single_tile_is_a_sheet(tmp_path):
    five = Image.open(write_sheet(tmp_path / "5.png", [Tile((small(i),)) for i in range(5)], across=4))
    four = Image.open(write_sheet(tmp_path / "4.png", [Tile((small(i),)) for i in range(4)], across=4))
    assert five.width == four.width
    assert five.height > four.height


@pytest.mark.parametrize("tiles", [[], [Tile(())]])
def test_a_sheet_of_nothing_is_refused(tmp_path, tiles):
    with pytest.raises(SeitError, match="no pictures"):
        write_sheet(tmp_path / "s.png", tiles)


def test_a_sheet_too_large_to_open_is_refused_and_nothing_is_left(tmp_path):
    photo = Image.new("RGB", (256, 256))
    with pytest.raises(SeitError, match="draw fewer"):
        write_sheet(tmp_path / "s.png", [Tile((photo,))] * 3000)
    assert list(tmp_path.iterdir()) == []
