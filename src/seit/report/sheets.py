"""Contact sheets as PNG files: originals beside what their tokens decode to, a caption below each.

For a terminal's user (`seit show`, `seit predict`) and for the docs; pages draw the same tiles as HTML.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seit.errors import SeitError
from seit.files import write_bytes
from seit.report import formats
from seit.report.canvas import matplotlib
from seit.report.pictures import Tile, as_image, is_tiny
from seit.report.svg import INK, MUTED, PAPER

_MARGIN, _GAP, _SEAM, _LINE = 32, 24, 4, 20
_SIDE, _TINY_SIDE = 256, 128
_MOST_PIXELS = 1 << 27


def write_sheet(
    path: str | os.PathLike[str],
    tiles: Sequence[Tile],
    title: str = "",
    columns: Sequence[str] = (),
    across: int = 4,
) -> Path:
    """Draws tiles in rows and writes them as one PNG file.

    Pictures of at most 64 pixels are enlarged by a whole factor with hard pixel edges; larger ones are fitted
    into 256 pixels. All pictures of a tile take the shape of its first, so that a view squashed to a square
    lies straight beside its original.

    Args:
        path: the PNG file.
        tiles: at least one; all with the same number of pictures. Each mark is drawn as a sign.
        title: written above.
        columns: what each of a tile's pictures is, written above the sheet, e.g. ("original", "decoded").
        across: most tiles in a row.

    Returns:
        The path.

    Raises:
        SeitError: no tile, a tile without pictures, or a sheet above 128 million pixels.
    """
    if not tiles or not all(tile.pictures for tile in tiles):
        raise SeitError("no pictures to draw", str(path), "give at least one picture a tile")
    across = max(1, min(across, len(tiles)))
    most = max(len(tile.pictures) for tile in tiles)
    side = _TINY_SIDE if all(is_tiny(as_image(p)) for tile in tiles for p in tile.pictures) else _SIDE
    cell = most * side + (most - 1) * _SEAM
    lines = max(len(tile.caption) for tile in tiles)
    above = (40 if title else 0) + (26 if columns else 0)
    rows = -(-len(tiles) // across)
    width = 2 * _MARGIN + across * cell + (across - 1) * _GAP
    # Landscape photos leave their square box partly empty: a row is as high as its highest picture.
    pictures = [[_fitted(as_image(p), as_image(tile.pictures[0]), side) for p in tile.pictures] for tile in tiles]
    heights = [max(p[0].height for p in pictures[row * across : (row + 1) * across]) for row in range(rows)]
    height = 2 * _MARGIN + above + sum(heights) + rows * (lines * _LINE + 8) + (rows - 1) * _GAP
    if width * height > _MOST_PIXELS:
        raise SeitError(f"a sheet of {width} x {height} pixels", str(path), "draw fewer pictures")

    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    if title:
        _write(draw, (_MARGIN, top), title, 20, INK, width - 2 * _MARGIN, bold=True)
        top += 40
    if columns:
        said = ("left to right: " if len(columns) > 1 else "") + ", ".join(columns)
        _write(draw, (_MARGIN, top - 6), said, 14, MUTED, width - 2 * _MARGIN)
        top += 26
    for row in range(rows):
        for column, place in enumerate(range(row * across, min((row + 1) * across, len(tiles)))):
            left = _MARGIN + column * (cell + _GAP)
            _draw_tile(sheet, draw, tiles[place], pictures[place], (left, top), cell)
        top += heights[row] + lines * _LINE + 8 + _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())
    return Path(path)


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    pictures: list[Image.Image],
    corner: tuple[int, int],
    cell: int,
) -> None:
    """Pastes a tile's pictures at `corner` and its caption below."""
    left, top = corner
    place, height = left, pictures[0].height
    for picture in pictures:
        sheet.paste(picture, (place, top))
        place += picture.width + _SEAM
    if tile.mark is False:
        box = (left - 4, top - 4, place - _SEAM + 3, top + height + 3)
        draw.rectangle(box, outline=INK, width=2)
    for number, line in enumerate(tile.caption):
        sign = "" if tile.mark is None or number else "\u2713 " if tile.mark else "\u2717 "
        at = (left, top + height + 8 + number * _LINE)
        _write(draw, at, sign + line, 14, MUTED if number else INK, cell)


def _fitted(image: Image.Image, first: Image.Image, side: int) -> Image.Image:
    """Resizes to the box of the tile's first picture: hard edges for tiny pictures, smooth for photos."""
    tiny = is_tiny(first)
    scale = side / max(first.size)
    if tiny:
        scale = max(1, int(scale))
    shape = (max(1, round(first.width * scale)), max(1, round(first.height * scale)))
    return image.resize(shape, Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    points: int,
    colour: str,
    width: int,
    bold: bool = False,
) -> None:
    """Writes one line, its middle cut out where it is wider than `width` pixels."""
    # matplotlib's own font: it has most scripts' letters, and is there wherever the package is.
    face = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / face, points)
    text = formats.shorten(formats.clean(text), 200)
    limit = len(text)
    while limit > 2 and font.getlength(formats.shorten(text, limit)) > width:
        limit -= 1
    draw.text(at, formats.shorten(text, limit), font=font, fill=colour)
