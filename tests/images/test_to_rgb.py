"""Pictures that a program made or opened become what their files would."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from seit.errors import ImageError
from seit.images import decode, to_rgb

RED = (200, 50, 30)


def of_mode(mode: str) -> Image.Image:
    picture = Image.new("RGB", (6, 4), RED)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "RGBA", "RGBX", "RGBa"])
def test_pictures_of_every_colour_mode_keep_their_colour(mode: str) -> None:
    rgb = to_rgb(of_mode(mode), "a picture")
    assert rgb.mode == "RGB"
    assert np.abs(np.array(rgb)[2, 3].astype(int) - RED).max() <= 4  # hues are coarse


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("LAB", "TIFF"), ("P", "PNG"), ("LA", "PNG"), ("1", "PNG")]
)
def test_a_picture_gives_what_its_file_gives(mode: str, kind: str) -> None:
    picture, buffer = of_mode(mode), io.BytesIO()
    picture.save(buffer, kind)
    stored = Image.open(io.BytesIO(buffer.getvalue()))
    for channels in (1, 3, 4):
        by_file = decode(buffer.getvalue(), "a file", channels)
        assert np.array_equal(np.array(to_rgb(stored, "a picture", channels)), np.array(by_file))


def test_the_orientation_that_a_camera_noted_is_applied() -> None:
    picture = Image.new("RGB", (4, 2), "red")
    picture.getexif()[0x0112] = 6
    assert to_rgb(picture, "a picture").size == (2, 4)


def test_what_has_no_rgb_is_refused_in_one_sentence() -> None:
    with pytest.raises(ImageError, match="a picture: floating-point samples have no agreed white"):
        to_rgb(Image.new("F", (2, 2)), "a picture")
    with pytest.raises(ImageError, match=r"a picture: cannot be converted .*; convert it to RGB"):
        to_rgb(Image.new("La", (2, 2)), "a picture")
    with pytest.raises(ImageError, match="a picture: pictures have no 2 channels"):
        to_rgb(Image.new("RGB", (2, 2)), "a picture", 2)
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    cut = Image.open(io.BytesIO(data.getvalue()[:80]))
    with pytest.raises(ImageError, match="a picture: cannot be converted"):
        to_rgb(cut, "a picture")
