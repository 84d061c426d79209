"""One picture's bytes -> RGB -> the view, exactly the size that a tokenizer asks for.

Pictures are shown as a browser shows them (EXIF orientation, CMYK, palettes, transparency over white, the
first frame of an animation), with one exception: colour profiles are ignored, as timm and torchvision do, so
that accuracies compare.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from seit.errors import ImageError, nearest_names

# Named, so that no other Pillow plug-in (PostScript runs a program) ever sees a user's bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
RESIZES = ("squash", "crop")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels of a view -> Pillow's name for them

# A few of ImageNet's own files have a damaged EXIF block, of which every process would warn once.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning, "PIL")


def decode(data: bytes, name: str, channels: int = 3) -> Image.Image:
    """Decodes one picture to RGB, as a browser would show it, or to another domain's channels.

    Samples of 16 bits are scaled to 8; a picture of more than about 179 million pixels is refused before it
    is decoded (Pillow's limit for decompression bombs).

    Args:
        data: the bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF, PNM or AVIF file.
        name: what the error calls it.
        channels: 3 for RGB; 1 for grey (of a colour picture, its luma); 4 for RGBA, transparency kept as it is.

    Returns:
        A Pillow picture of mode RGB, L or RGBA.

    Raises:
        ImageError: the bytes are empty, cut off, damaged, too large when decoded, or no known format; or there is
            no such number of channels.
    """
    if not data:
        raise ImageError("the file is empty", name, "replace or remove it")
    if data.startswith(b"version https://git-lfs"):
        raise ImageError("this is a Git LFS pointer, not a picture", name, "run `git lfs pull`")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.load()
            return to_rgb(picture, name, channels)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageError("too many pixels to decode safely", name, "shrink or remove it") from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise ImageError(f"not a picture of a known format ({known})", name, "remove it") from error
    except Exception as error:
        # On damaged bytes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error, ...
        raise ImageError(f"cannot be decoded ({error})", name, "replace or remove it") from error


def to_rgb(picture: Image.Image, name: str, channels: int = 3) -> Image.Image:
    """Converts an opened picture of any of Pillow's modes as `decode` does one in a file.

    Args:
        picture: as Pillow opened or made it.
        name: what the error calls it.
        channels: 3 for RGB; 1 for grey; 4 for RGBA.

    Raises:
        ImageError: it is not a picture with an agreed white, or there is no such number of channels.
    """
    if channels not in _MODES:
        raise ImageError(f"pictures have no {channels} channels", name, "choose 1 (grey), 3 (RGB) or 4 (RGBA)")
    try:
        upright = _upright(picture)
        if channels == 4 and upright.has_transparency_data:
            return upright.convert("RGBA")
        return _to_rgb(upright, name).convert(_MODES[channels])
    except (OSError, SyntaxError, ValueError) as error:  # cut off, or a mode without a conversion
        raise ImageError(f"cannot be converted ({error})", name, "convert it to RGB") from error


def _upright(picture: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; a broken EXIF block is ignored, as browsers do."""
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(picture)
    return picture


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Converts any of Pillow's modes to RGB."""
    if picture.mode == "F":
        raise ImageError("floating-point samples have no agreed white", name, "save it with 8 or 16 bits")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        samples = np.asarray(picture).astype(np.int64)  # Pillow's own conversion clips at 255
        if samples.min() < 0 or samples.max() > 65535:
            raise ImageError("32-bit samples have no agreed white", name, "save it with 8 or 16 bits")
        return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if picture.mode == "LAB":  # Pillow's own conversion knows no LAB
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"), srgb, outputMode="RGB")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def to_view(picture: Image.Image, preprocessing: dict[str, Any]) -> np.ndarray:
    """Resizes a picture to the view that a tokenizer sees.

    "squash" resizes straight to the view and changes the aspect ratio, as SeiT's tokens were made; "crop"
    resizes until the view is just covered and cuts out the centre. Both enlarge smaller pictures, too: a view
    is always exactly `size`.

    Args:
        picture: of any size and mode.
        preprocessing: {"size": 256 or [height, width] in pixels, "resize": "squash" or "crop",
            "interpolation": "bicubic", "bilinear" or "lanczos", all antialiased}; other keys are ignored.

    Returns:
        uint8 [H, W, C], contiguous and writable; C is 3 for an RGB picture.

    Raises:
        ImageError: a key is missing or its value unknown.
    """
    height, width, resize, interpolation = _checked(preprocessing)
    if resize == "crop":
        wide, high = picture.size
        # The side that is relatively shorter meets the view exactly; the other is rounded down (torchvision).
        if wide * height <= high * width:
            grown = width, max(height, high * width // wide)
        else:
            grown = max(width, wide * height // high), height
        left, top = round((grown[0] - width) / 2), round((grown[1] - height) / 2)
        picture = resized(picture, grown, interpolation).crop((left, top, left + width, top + height))
    else:
        picture = resized(picture, (width, height), interpolation)
    view = np.array(picture)
    return view if view.ndim == 3 else view[..., None]


def resized(
    picture: Image.Image, size: tuple[int, int], interpolation: Image.Resampling, gap: float | None = None
) -> Image.Image:
    """Resizes a picture to `size` (width, height); `gap` is Pillow's reducing_gap, a speed-up for large pictures.

    Pillow weights colours by a fourth channel as if it were transparency; here every channel is resized by itself,
    since it may as well be near infrared.
    """
    if picture.mode != "RGBA":
        return picture.resize(size, interpolation, reducing_gap=gap)
    return Image.merge("RGBA", [band.resize(size, interpolation, reducing_gap=gap) for band in picture.split()])


def _checked(preprocessing: dict[str, Any]) -> tuple[int, int, str, Image.Resampling]:
    """Takes (height, width, resize, interpolation) out of the preprocessing, or says what is wrong there."""
    missing = {"size", "resize", "interpolation"} - preprocessing.keys()
    if missing:
        raise ImageError(f"{', '.join(sorted(missing))} missing", "preprocessing", "add it")
    size, resize, interpolation = (preprocessing[key] for key in ("size", "resize", "interpolation"))
    sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= 65535 for side in sides):
        raise ImageError(f"size {size!r} is no side or [height, width] in pixels", "preprocessing")
    if resize not in RESIZES:
        raise ImageError(f"unknown resize {resize!r}", "preprocessing", nearest_names(str(resize), RESIZES))
    if interpolation not in INTERPOLATIONS:
        cure = nearest_names(str(interpolation), INTERPOLATIONS)
        raise ImageError(f"unknown interpolation {interpolation!r}", "preprocessing", cure)
    return sides[0], sides[1], resize, INTERPOLATIONS[interpolation]
