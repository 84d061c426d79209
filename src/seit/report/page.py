"""A self-contained HTML page built from blocks: the form of every report of seit.

The page works from a disk without a network: pictures are `data:` addresses, styles are inside, there is no
script, and a content security policy forbids everything else. Every string that a caller hands over may come
from a hostile file name; it is cleaned (`formats.clean`) and escaped. Text between backticks in prose
(leads, texts, notes, captions) is set as code; there is no other markup.

Example:
    >>> page = Page("Decoding speed", "How fast rows come back, by codec.")
    >>> page.section("Results")
    >>> page.table("Images per second", [Column("codec"), Column("speed", "images/s")], [["context", 85_000]])
    >>> path = page.write("report.html")
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from seit.errors import SeitError
from seit.files import write_bytes
from seit.report import formats
from seit.report.pictures import Tile, embed

if TYPE_CHECKING:
    from seit.report.figures import Drawing  # a page without drawings need not load matplotlib

Cell = str | int | float | None


@dataclass(frozen=True)
class Headline:
    """One of a page's few big numbers.

    Attributes:
        value: the number as it shall be read, e.g. "71.9".
        unit: small, behind it, e.g. "%".
        label: what it is, e.g. "top-1 accuracy, trained on tokens".
        note: what it counts and over how many, small.
    """

    value: str
    unit: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        name: its heading.
        unit: written below the heading.
        align: "right" for numbers; the first column is a heading of its row and stands left.
        show: how a number is written; without it, thousands separators and three significant digits.
    """

    name: str
    unit: str = ""
    align: Literal["left", "right"] = "right"
    show: Callable[[float], str] = formats.number


@dataclass(frozen=True)
class Part:
    """A part of a whole: `value` in the whole's unit; `note` says what it counts."""

    name: str
    value: float
    note: str = ""


@dataclass
class _Section:
    title: str
    lead: str
    blocks: list[dict[str, Any]]


class Page:
    """A report that is filled from top to bottom, then written once.

    Args:
        title: the page's heading.
        lead: one to three sentences below it: what was done and what came out.
        footer: small print at the end, e.g. version and date.
    """

    def __init__(self, title: str, lead: str = "", footer: str = "") -> None:
        self.title, self.lead, self.footer = title, lead, footer
        self._sections: list[_Section] = [_Section("", "", [])]

    def section(self, title: str, lead: str = "") -> None:
        """Begins a section; what follows belongs to it."""
        self._sections.append(_Section(title, lead, []))

    def headlines(self, numbers: Sequence[Headline]) -> None:
        """Adds a row of two to five big numbers; the first is set in the accent colour."""
        self._add("headlines", numbers=list(numbers))

    def text(self, text: str) -> None:
        """Adds prose; an empty line begins a paragraph."""
        self._add("text", paragraphs=[part for part in re.split(r"\n\s*\n", text) if part.strip()])

    def table(
        self,
        caption: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Cell]],
        note: str = "",
        strong: Collection[int] = (),
    ) -> None:
        """Adds a table.

        Args:
            caption: what it shows; its heading.
            columns: one for each cell of a row; the first one holds the rows' names.
            rows: strings are written as they are, numbers by their column, None as a dash.
            note: small print below: what is counted, over how many, how measured.
            strong: numbers of the rows to set in bold: ours, or the total.

        Raises:
            SeitError: a row has more or fewer cells than there are columns.
        """
        for row in rows:
            if len(row) != len(columns):
                raise SeitError(f"a row of {len(row)} cells", f"table {caption!r}", f"give {len(columns)}")
        written = [
            [cell if isinstance(cell, str) else _number(cell, c) for cell, c in zip(row, columns, strict=True)]
            for row in rows
        ]
        self._add("table", caption=caption, columns=columns, rows=written, note=note, strong=set(strong))

    def pictures(
        self,
        caption: str,
        tiles: Sequence[Tile],
        columns: Sequence[str] = (),
        note: str = "",
        max_side: int = 480,
    ) -> None:
        """Adds a sheet of pictures.

        Args:
            caption: what it shows; its heading.
            tiles: in reading order; all with the same number of pictures. Tiny ones (`pictures.TINY`) are
                enlarged with hard pixel edges, larger ones stored at `max_side` pixels at most.
            columns: what each of a tile's pictures is, e.g. ("original", "decoded"); said once above the
                sheet and in each picture's alternative text.
            note: small print below.
            max_side: longest side kept of a large picture; 24 photos at 480 are about 1 MB.
        """
        entries: list[dict[str, Any]] = []
        for tile in tiles:
            name = tile.name or (tile.caption[0] if tile.caption else "picture")
            images = []
            for place, picture in enumerate(tile.pictures):
                what = f"{name}, {columns[place]}" if place < len(columns) else name
                images.append((embed(picture, max_side), what))
            entries.append({"images": images, "caption": tile.caption, "mark": tile.mark})
        wide = max((len(tile.pictures) for tile in tiles), default=1)
        tiny = all(image.tiny for entry in entries for image, _ in entry["images"])
        self._add("pictures", caption=caption, tiles=entries, columns=columns, note=note, wide=wide, tiny=tiny)

    def figure(self, drawing: Drawing, caption: str, note: str = "") -> None:
        """Adds a drawing (`figures`), once for a desk and once for a phone; the reader sees one of them."""
        wide, narrow = drawing.svg(), drawing.svg(360)
        self._add("figure", wide=Markup(wide), narrow=Markup(narrow), caption=caption, note=note)

    def shares(
        self,
        caption: str,
        parts: Sequence[Part],
        show: Callable[[float], str] = formats.number,
        heading: str = "",
        note: str = "",
    ) -> None:
        """Adds a whole cut into parts, as a stacked bar and a table of the same: where time or bytes went.

        Args:
            caption: what the whole is; its heading.
            parts: in the order of the bar; not negative.
            show: how a value is written, e.g. `formats.duration` or `formats.number`.
            heading: the values' column, with the unit.
            note: small print below.

        Raises:
            SeitError: a part is negative or not a number.
        """
        for part in parts:
            if not 0 <= part.value < float("inf"):
                raise SeitError(f"{part.value}", f"part {part.name!r} of {caption!r}", "give 0 or more")
        whole = sum(part.value for part in parts)
        rows = [(part, show(part.value), part.value / whole if whole else 0.0) for part in parts]
        self._add("shares", caption=caption, parts=rows, total=show(whole), heading=heading, note=note)

    def details(self, caption: str, pairs: Mapping[str, Cell] | Sequence[tuple[str, Cell]]) -> None:
        """Adds names and values: a machine, a model, a data set."""
        listed = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
        written = [(name, value if isinstance(value, str) else formats.number(value)) for name, value in listed]
        self._add("details", caption=caption, pairs=written)

    def commands(self, caption: str, steps: Sequence[tuple[str, str]], note: str = "") -> None:
        """Adds commands to type: (what it does, the command, of one or more lines)."""
        self._add("commands", caption=caption, steps=list(steps), note=note)

    def html(self) -> str:
        """Returns the page."""
        sections = [part for part in self._sections if part.title or part.blocks]
        return _environment().get_template("page.html").render(page=self, sections=sections)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page atomically and returns its path."""
        write_bytes(path, self.html().encode())
        return Path(path)

    def _add(self, kind: str, **values: Any) -> None:
        self._sections[-1].blocks.append({"kind": kind, **values})


def _number(cell: float | None, column: Column) -> str:
    return formats.number(cell) if cell is None or cell != cell else column.show(cell)


def _prose(text: str) -> Markup:
    """Escapes prose; what stands between backticks becomes code."""
    pieces = re.split(r"`([^`]+)`", formats.clean(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece)
        for place, piece in enumerate(pieces)
    )


def _cleaned(value: Any) -> Any:
    """Jinja's last touch on every expression, before it escapes: no control character gets through."""
    return formats.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("seit", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_cleaned,
    )
    environment.filters.update(prose=_prose, shorten=formats.shorten, percent=formats.percent)
    return environment
