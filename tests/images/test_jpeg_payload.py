"""The payload of a JPEG is what an independent scan of the file leaves after all its headers."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from seit.errors import ImageError
from seit.images import jpeg_payload_bytes

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8))


def jpeg(image=NOISE, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def naive_payload(data):
    """After each scan header: everything up to the next marker that is not 00 or D0..D7."""
    total = 0
    for header in re.finditer(rb"\xff\xda\x00[\x08\x0a\x0c]", data):
        start = header.start() + 2 + data[header.start() + 3]
        total += re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL).search(data, start).start() - start
    return total


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 95, "subsampling": 0},
        {"optimize": True},
        {"progressive": True},
        {"restart_marker_blocks": 3},
        {"quality": 5},
    ],
)
def test_payload_equals_a_naive_scan(options):
    data = jpeg(**options)
    assert jpeg_payload_bytes(data) == naive_payload(data)
    assert 0 < jpeg_payload_bytes(data) < len(data)


def test_headers_never_count():
    thumbnail = jpeg(NOISE.resize((16, 16)))
    exif = Image.Exif()
    exif[0x010E] = "a long description " * 50
    heavy = jpeg(exif=exif, icc_profile=thumbnail * 100, comment=thumbnail)
    assert jpeg_payload_bytes(heavy) == jpeg_payload_bytes(jpeg())
    assert len(heavy) > len(jpeg()) + 10_000


def test_one_flat_block_has_a_payload_of_a_byte_or_two_in_a_file_of_hundreds():
    data = jpeg(Image.new("L", (8, 8), 128))
    assert 1 <= jpeg_payload_bytes(data) <= 2
    assert len(data) > 200


def test_bytes_behind_the_end_marker_do_not_count():
    assert jpeg_payload_bytes(jpeg() + jpeg()) == jpeg_payload_bytes(jpeg())


def test_a_cut_off_file_is_counted_up_to_its_end():
    data = jpeg()
    assert jpeg_payload_bytes(data[:-100]) == jpeg_payload_bytes(data) - 98  # the end marker has two bytes


def test_no_cut_raises_anything_but_image_error_or_hangs():
    data = jpeg(NOISE.resize((16, 16)), restart_marker_blocks=1, progressive=True)
    for length in range(2, len(data)):
        assert 0 <= jpeg_payload_bytes(data[:length]) <= length


def test_stray_bytes_before_a_marker_are_skipped_as_decoders_do():
    data = jpeg()
    assert jpeg_payload_bytes(data[:2] + b"\0\1\2" + data[2:]) == jpeg_payload_bytes(data)
    assert jpeg_payload_bytes(b"\xff\xd8" + bytes(10)) == 0


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_jpeg_is_refused(data):
    with pytest.raises(ImageError):
        jpeg_payload_bytes(data)
