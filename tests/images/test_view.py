"""Decoding follows browsers, damage is refused by name, and a view is exactly what Pillow's own call gives."""

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from seit.errors import ImageError
from seit.images import decode, to_view

SQUASH = {"size": 256, "resize": "squash", "interpolation": "bicubic"}


def picture(mode="RGB", width=64, height=48):
    """A picture without symmetry: smooth, so that JPEG keeps it, and with a red corner at the top left."""
    y, x = np.mgrid[:height, :width]
    values = np.stack([x * 255 // width, y * 255 // height, (x + y) * 127 // (width + height)], -1)
    values[: height // 4, : width // 4] = (255, 0, 0)
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(data):
    return np.asarray(decode(data, "x")).astype(int)


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("PPM", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 97, "subsampling": 0}, 8),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 12),
    ],
)
def test_every_format_decodes_to_the_picture_that_was_saved(format, options, tolerance):
    difference = np.abs(pixels(encoded(picture(), format, **options)) - np.asarray(picture()).astype(int))
    assert np.percentile(difference, 99) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose that a viewer applies
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture()
    shown = stored.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else stored
    assert np.array_equal(pixels(encoded(stored, "PNG", exif=exif)), np.asarray(shown))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_lose_the_picture():
    plain = encoded(picture(), "JPEG")
    block = b"Exif\0\0MM\0*\0\0\xff\xff garbage"
    with_block = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    assert np.array_equal(pixels(with_block), pixels(plain))


def test_cmyk_jpeg_keeps_its_colours():
    shown = pixels(encoded(picture("CMYK"), "JPEG", quality=97, subsampling=0))
    assert np.abs(shown - np.asarray(picture()).astype(int)).mean() < 3


def test_alpha_is_laid_over_white():
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.full((48, 64), 51, np.uint8)))  # a fifth
    expected = np.asarray(picture()).astype(int) * 0.2 + 255 * 0.8
    assert np.abs(pixels(encoded(image, "PNG")) - expected).max() <= 1


def test_a_transparent_palette_entry_is_white_and_the_others_keep_their_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 200, 30, 40, 50, 60])
    image.putdata([0, 1])
    data = encoded(image, "PNG", transparency=0)
    assert pixels(data)[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_grey_and_bilevel_pictures_become_rgb():
    assert np.array_equal(pixels(encoded(picture("L"), "PNG"))[..., 1], np.asarray(picture("L")))
    assert set(np.unique(pixels(encoded(picture("1"), "PNG")))) == {0, 255}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(format):
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    shown = pixels(encoded(Image.fromarray(values), format))[0, :, 0]
    assert shown.tolist() == [0, 0, 1, 128, 255]


def test_sixteen_bit_colour_png_is_scaled():
    rows = b"\0" + struct.pack(">6H", 0, 32768, 65535, 257, 65278, 4660)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [
            (b"IHDR", struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
    )
    assert np.abs(pixels(data)[0] - [[0, 128, 255], [1, 254, 18]]).max() <= 1


@pytest.mark.parametrize("dtype", ["<i4", "<u4"])
def test_a_tiff_of_32_bit_samples_up_to_255_is_not_black(dtype):
    values = np.array([[0, 7, 128, 255]], dtype)
    assert pixels(encoded(Image.fromarray(values.astype("<i4"), "I"), "TIFF"))[0, :, 1].tolist() == [0, 7, 128, 255]
    dark = np.array([[0, 257, 65535]], np.int32)
    assert pixels(encoded(Image.fromarray(dark), "TIFF"))[0, :, 0].tolist() == [0, 1, 255]


def chunk(kind, body, damage=0):
    """Returns one chunk of a PNG; its checksum is wrong by `damage`."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ damage)


LARGE = zlib.compress(b"A" * (1 << 21))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"workflow\0\0" + LARGE),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + LARGE),
        chunk(b"iCCP", b"icc\0\0" + LARGE),
        chunk(b"tEXt", b"prompt\0" + b"A" * (1 << 21)),
        chunk(b"iCCP", b"icc\0\0garbage"),
        chunk(b"tEXt", b"a\0b", damage=1),
        chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0", damage=1),
        chunk(b"gAMA", b"\0", damage=1),
        b"".join(chunk(b"zTXt", b"page\0\0" + zlib.compress(b"A" * 1_000_000)) for _ in range(80)),
    ],
    ids=["zTXt", "iTXt", "iCCP", "tEXt", "damaged iCCP", "CRC of tEXt", "CRC of eXIf", "CRC of gAMA", "80 texts"],
)
def test_a_png_is_decoded_whatever_its_remarks_hold(extra):
    data = encoded(picture(), "PNG")
    assert np.array_equal(pixels(data[:33] + extra + data[33:]), np.asarray(picture()))


def test_a_png_keeps_its_transparency_unless_that_is_damaged():
    grey = encoded(Image.new("L", (2, 1), 40), "PNG")
    for damage, shown in ((0, 255), (1, 40)):
        assert pixels(grey[:33] + chunk(b"tRNS", struct.pack(">H", 40), damage) + grey[33:])[0, 0, 0] == shown


def test_a_png_whose_pixels_have_a_wrong_checksum_is_refused():
    data = bytearray(encoded(picture(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(bytes(data), "cat.png")


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_an_animation_shows_its_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert pixels(data)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_an_agreed_white_are_refused(mode):
    data = encoded(Image.fromarray(np.full((4, 4), 1e6, {"F": "f4", "I": "i4"}[mode])), "TIFF")
    with pytest.raises(ImageError, match=r"cat/1\.tif: .* no agreed white; save it with 8 or 16 bits"):
        decode(data, "cat/1.tif")


NASTY = {
    "empty": b"",
    "text": b"<html>404 not found</html>",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "half a JPEG": encoded(picture(), "JPEG")[:700],
    "half a PNG": encoded(picture(), "PNG")[:90],
    "a JPEG's header": encoded(picture(), "JPEG")[:4],
    "damaged PNG": encoded(picture(), "PNG").replace(b"IDAT", b"IDAT\xff\xff"),
    "bomb": encoded(Image.new("1", (20000, 20000)), "PNG"),
}


@pytest.mark.parametrize("kind", NASTY)
def test_nasty_bytes_give_one_line_that_names_the_file(kind):
    with pytest.raises(ImageError) as caught:
        decode(NASTY[kind], "train/cat/bad.jpg")
    assert str(caught.value).startswith("train/cat/bad.jpg: ")
    assert "\n" not in str(caught.value)


def test_every_cut_of_a_png_is_refused_or_complete():
    data = encoded(picture(width=8, height=8), "PNG")
    whole = pixels(data)
    for length in range(len(data)):
        with contextlib.suppress(ImageError):
            assert np.array_equal(pixels(data[:length]), whole)


def test_squash_equals_pillows_resize_of_the_whole_picture():
    expected = picture().resize((256, 256), Image.Resampling.BICUBIC)
    assert np.array_equal(to_view(picture(), SQUASH), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (500, 375), (301, 300), (33, 1000), (7, 7)])
def test_crop_equals_resizing_the_short_side_and_cutting_the_centre(width, height):
    """ImageOps.fit is the second way: it cuts first and resizes after, so edges differ by a rounding."""
    view = to_view(picture(width=width, height=height), SQUASH | {"size": 64, "resize": "crop"})
    fitted = ImageOps.fit(picture(width=width, height=height), (64, 64), Image.Resampling.BICUBIC)
    assert view.shape == (64, 64, 3)
    assert np.abs(view.astype(int) - np.asarray(fitted)).mean() < 4


def test_crop_of_even_margins_equals_pillows_own_calls():
    image = picture(width=128, height=64)
    expected = image.resize((64, 32), Image.Resampling.BICUBIC).crop((16, 0, 48, 32))
    assert np.array_equal(to_view(image, SQUASH | {"size": 32, "resize": "crop"}), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(6000, 8), (8, 6000), (3000, 1), (1, 3000)])
def test_of_a_thin_picture_only_what_the_view_shows_is_resized(width, height):
    image = picture(width=width, height=height)
    view = to_view(image, SQUASH | {"size": 16, "resize": "crop"})
    whole = (max(16, 16 * width // height), max(16, 16 * height // width))
    left, top = round((whole[0] - 16) / 2), round((whole[1] - 16) / 2)
    expected = image.resize(whole, Image.Resampling.BICUBIC).crop((left, top, left + 16, top + 16))
    assert np.abs(view.astype(int) - np.asarray(expected)).max() <= 2


LIMITED = """
import io, resource, sys
from PIL import Image
from seit.errors import ImageError
from seit.images import decode, to_view
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for size, view in (((60000, 1), 256), ((1, 60000), 256), ((10, 10), 65535)):
    file = io.BytesIO()
    Image.new("RGB", size, (90, 120, 30)).save(file, "PNG")
    picture = decode(file.getvalue(), "thin.png")
    for resize in ("squash", "crop"):
        try:
            print(to_view(picture, {"size": view, "resize": resize, "interpolation": "bicubic"}).mean())
        except ImageError as error:
            print(error)
"""


def test_a_thin_picture_takes_no_gigabytes_and_want_of_memory_is_one_line():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = "a picture of 10x10 pixels: needs more memory than there is; shrink or remove it"
    assert done.stdout.splitlines() == ["80.0"] * 4 + [said] * 2


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [8, 100, [24, 40], (40, 24)])
def test_a_view_has_exactly_the_size_asked_for(resize, size):
    view = to_view(picture(), {"size": size, "resize": resize, "interpolation": "bilinear"})
    assert view.shape == ((size, size) if isinstance(size, int) else tuple(size)) + (3,)
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    assert view.flags.writeable


def test_a_picture_of_the_right_size_is_untouched():
    assert np.array_equal(to_view(picture(), SQUASH | {"size": [48, 64]}), np.asarray(picture()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resize": "squish"}, "did you mean 'squash'"),
        ({"interpolation": "bicubik"}, "did you mean 'bicubic'"),
        ({"size": 0}, "size 0"),
        ({"size": [8, 8, 8]}, "height, width"),
        ({"size": 8.5}, "size 8.5"),
        ({"size": True}, "size True"),
        ({"size": "256"}, "size '256'"),
    ],
)
def test_wrong_preprocessing_is_refused_with_its_value(change, said):
    with pytest.raises(ImageError, match="preprocessing: ") as caught:
        to_view(picture(), SQUASH | change)
    assert said in str(caught.value)


def test_missing_preprocessing_keys_are_named():
    with pytest.raises(ImageError, match="interpolation, resize missing"):
        to_view(picture(), {"size": 8})
