import base64
import io

import numpy as np
import pytest
from invented import small
from PIL import Image

from seit.errors import ImageError
from seit.report.pictures import as_image, embed


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_a_tiny_picture_is_embedded_without_any_loss():
    picture = small(3)
    embedded = embed(picture)
    assert embedded.uri.startswith("data:image/png;base64,")
    assert np.array_equal(np.array(opened(embedded.uri)), picture)
    assert embedded.tiny


def test_a_photo_is_shrunk_stays_alike_and_is_a_fraction_of_its_png():
    from skimage import data, metrics

    photo = data.astronaut()
    embedded = embed(photo, max_side=256)
    back = opened(embedded.uri).convert("RGB")
    assert back.size == (embedded.width, embedded.height) == (256, 256)
    want = np.array(Image.fromarray(photo).resize((256, 256), Image.Resampling.LANCZOS))
    assert metrics.peak_signal_noise_ratio(want, np.array(back)) > 33
    png = io.BytesIO()
    Image.fromarray(want).save(png, "PNG")
    assert len(embedded.uri) < len(png.getvalue()) / 3


def test_every_mode_of_picture_becomes_rgb():
    for mode in ("1", "L", "P", "RGBA", "CMYK"):
        assert as_image(Image.new(mode, (5, 4))).mode == "RGB"
    for shape in ((4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)):
        picture = as_image(np.full(shape, 7, np.uint8))
        assert (picture.mode, picture.size, picture.getpixel((1, 1))) == ("RGB", (5, 4), (7, 7, 7))


@pytest.mark.parametrize("shape", [(3, 32, 32), (0, 4, 3), (4, 4, 2), (2, 4, 4, 3)])
def test_an_array_of_another_shape_is_refused_with_the_cure(shape):
    with pytest.raises(ImageError, match=r"uint8 \[H, W, 3\]|leave it out"):
        as_image(np.zeros(shape, np.uint8))


def test_floats_are_refused_rather_than_guessed():
    with pytest.raises(ImageError, match="float32"):
        as_image(np.zeros((4, 4, 3), np.float32))
