"""Drawings in one style: curves, frontiers, bars and confusion matrices, for the page and for the docs.

A `Drawing` is a function of its width, so that the page can hold one drawn for a desk and one drawn for a
phone with the same size of letters. On the page the colours are CSS variables and follow its light or dark
theme; as PNG they are the light ones. Labels stand at what they name instead of in a legend, and series
differ by dash or marker as well as by colour.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seit.errors import SeitError
from seit.files import write_bytes
from seit.report import formats, svg
from seit.report.canvas import (
    Axes,
    Figure,
    FigureCanvasAgg,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    matplotlib,
    to_rgb,
)
from seit.report.labels import label_ends, label_points
from seit.report.svg import ACCENT, GREY, INK, MUTED, ON_ACCENT, PAPER, RULE

WIDE, NARROW = 760, 360
"""Widths in CSS pixels that the page draws for a desk and for a phone."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seit",  # the same drawing gives the same bytes
    "text.parse_math": False,  # a class may be called "$x$"
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "figure.facecolor": "none",
    "figure.dpi": 72,  # one point is one CSS pixel
    "savefig.dpi": 72,
}
_SERIES = [(ACCENT, "-"), (INK, (0, (5, 2))), (MUTED, (0, (1.5, 1.5))), (ACCENT, (0, (6, 2, 1, 2)))]
_SERIES += [(INK, (0, (1, 3))), (MUTED, "-"), (ACCENT, (0, (2, 2))), (INK, "-")]


@dataclass(frozen=True)
class Drawing:
    """Something drawn, at any width.

    Attributes:
        alt: what it shows, in a sentence, for those who cannot see it.
        draw: from a width in CSS pixels to a matplotlib figure; called inside the shared style.
    """

    alt: str
    draw: Callable[[float], Figure]

    def svg(self, width: float = WIDE) -> str:
        """Returns an `<svg>` element to stand inside an HTML page (see `svg.inline`)."""
        with matplotlib.rc_context(_STYLE):
            buffer = io.StringIO()
            self.draw(width).savefig(buffer, format="svg", metadata={"Date": None})
        return svg.inline(buffer.getvalue(), self.alt)

    def write_png(self, path: str | os.PathLike[str], width: float = WIDE, scale: float = 2) -> None:
        """Writes the drawing as PNG on white, `width * scale` pixels wide, for the docs."""
        with matplotlib.rc_context(_STYLE):
            buffer = io.BytesIO()
            self.draw(width).savefig(buffer, format="png", dpi=72 * scale, facecolor=PAPER)
        write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: the quantity and its unit, e.g. "payload and offsets, bytes per image".
        log: whether it is logarithmic.
        show: how a value is written at a tick.
        better: which way is better, where that can be said; `frontier` draws the rim from it.
    """

    label: str
    log: bool = False
    show: Callable[[float], str] = formats.short
    better: Literal["less", "more", ""] = ""


@dataclass(frozen=True)
class Line:
    """A curve: `x` and `y` of equal length; not-a-number makes a gap."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Point:
    """A labelled point of a frontier; `ours` ones are filled in the accent colour."""

    label: str
    x: float
    y: float
    ours: bool = False


@dataclass(frozen=True)
class Bar:
    """A labelled bar; `note` stands behind its value."""

    label: str
    value: float
    note: str = ""
    ours: bool = False


def curves(lines: Sequence[Line], x: Axis, y: Axis, alt: str = "") -> Drawing:
    """Draws training curves, each labelled at its end; the first is drawn in the accent colour.

    Args:
        lines: one to eight curves.
        x: the axis along the bottom.
        y: the axis along the left.
        alt: a description; without one, the axes and each curve's last value.

    Raises:
        SeitError: no curve, more than eight, or one whose x and y differ in length or are empty.
    """
    if not 1 <= len(lines) <= len(_SERIES):
        raise SeitError(f"{len(lines)} curves", "figure", f"draw 1 to {len(_SERIES)}")
    for line in lines:
        if len(line.x) != len(line.y) or not len(line.x):
            raise SeitError(f"{len(line.x)} x, {len(line.y)} y", f"curve {line.label!r}", "give pairs")
    said = "; ".join(f"{line.label} ends at {y.show(line.y[-1])}" for line in lines)

    def draw(width: float) -> Figure:
        figure, axes = _new(width, 0.5 if width > 500 else 0.75)
        for line, (colour, dash) in zip(lines, _SERIES, strict=False):
            thick = 2.2 if colour == ACCENT else 1.6
            axes.plot(line.x, line.y, color=colour, linestyle=dash, linewidth=thick)
        _axis(axes, x, y)
        axes.margins(x=0)
        ends = [(line.label, line.x[-1], line.y[-1], _SERIES[i][0]) for i, line in enumerate(lines)]
        label_ends(figure, axes, ends)
        return figure

    return Drawing(formats.clean(alt or f"Curves of {y.label} over {x.label}: {said}."), draw)


def frontier(points: Sequence[Point], x: Axis, y: Axis, alt: str = "") -> Drawing:
    """Draws labelled points and, where both axes say what is better, the rim of those none other beats.

    Args:
        points: at least one; on a logarithmic axis values must be above 0.
        x: the axis along the bottom.
        y: the axis along the left.
        alt: a description; without one, the axes and every point.

    Raises:
        SeitError: no point, or one that a logarithmic axis cannot show.
    """
    if not points:
        raise SeitError("no points", "figure", "give at least one")
    for point in points:
        if (x.log and point.x <= 0) or (y.log and point.y <= 0):
            raise SeitError(f"({point.x}, {point.y}) on a log axis", f"point {point.label!r}", "leave it out")
    listed = "; ".join(f"{p.label}: {x.show(p.x)}, {y.show(p.y)}" for p in points)

    def draw(width: float) -> Figure:
        figure, axes = _new(width, 0.56 if width > 500 else 0.95)
        axes.margins(0.12)
        for point in points:
            fill = ACCENT if point.ours else PAPER
            edge = ACCENT if point.ours else MUTED
            axes.plot(point.x, point.y, "o", ms=8, mfc=fill, mec=edge, mew=1.6, zorder=3)
        _axis(axes, x, y)
        rim = _rim(points, x.better, y.better)
        axes.plot([p.x for p in rim], [p.y for p in rim], color=MUTED, lw=1, ls=(0, (4, 3)), zorder=2)
        names = [(p.label, p.x, p.y, ACCENT if p.ours else INK) for p in points]
        label_points(figure, axes, names, [(p.x, p.y) for p in rim])
        return figure

    return Drawing(formats.clean(alt or f"{y.label} against {x.label}. {listed}."), draw)


def bars(rows: Sequence[Bar], x: Axis, alt: str = "") -> Drawing:
    """Draws horizontal bars from 0, one a row, each with its value written behind it.

    Args:
        rows: at least one, drawn from the top; values finite and not negative.
        x: the axis; bars on a logarithmic one would have no honest length, so it must be linear.
        alt: a description; without one, every bar.

    Raises:
        SeitError: no row, a value that has no length, or a logarithmic axis.
    """
    if not rows or x.log:
        raise SeitError("no rows or a log axis", "figure", "bars need rows and a linear axis")
    for row in rows:
        if not np.isfinite(row.value) or row.value < 0:
            raise SeitError(f"value {row.value}", f"bar {row.label!r}", "give one that is 0 or more")
    listed = "; ".join(f"{row.label}: {x.show(row.value)}" for row in rows)

    def draw(width: float) -> Figure:
        wide = width > 500  # on a phone a bar's name stands above it: beside it is no room
        figure, axes = _new(width, ((30 if wide else 46) * len(rows) + 40) / width)
        places = np.arange(len(rows))
        colours = [ACCENT if row.ours else GREY for row in rows]
        axes.barh(places, [row.value for row in rows], height=0.62 if wide else 0.4, color=colours, linewidth=0)
        names = [formats.shorten(formats.clean(row.label), 40) for row in rows]
        axes.set_yticks(places, names if wide else [""] * len(rows), fontsize=12)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5 if wide else -0.85)
        axes.grid(False)
        axes.spines[["bottom"]].set_visible(False)
        axes.set_xticks([])
        _heading(axes, x.label)
        for place, row, name in zip(places, rows, names, strict=True):
            text = x.show(row.value) + (
                f" \u00b7 {formats.shorten(formats.clean(row.note), 24)}" if row.note else ""
            )
            axes.annotate(text, (row.value, place), (5, 0), textcoords="offset points", va="center")
            if not wide:
                axes.annotate(name, (0, place - 0.24), (3, 1), textcoords="offset points", va="bottom")
        return figure

    return Drawing(formats.clean(alt or f"Bars of {x.label}. {listed}."), draw)


def confusion(counts: Any, classes: Sequence[str], alt: str = "") -> Drawing:
    """Draws a confusion matrix: a row for each true class, shaded by the share of the row.

    Args:
        counts: integers [C, C], rows true and columns predicted classes.
        classes: C names; written along both sides up to 50 classes, and the shares in the cells up to 12.
        alt: a description; without one, the three commonest confusions.

    Raises:
        SeitError: the matrix is not square or has another number of classes.
    """
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape != (len(classes), len(classes)) or not len(classes):
        raise SeitError(f"a matrix {list(table.shape)} for {len(classes)} classes", "figure", "give C x C")
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    off = np.where(np.eye(len(classes), dtype=bool), -1, table)
    worst = [np.unravel_index(place, off.shape) for place in np.argsort(-off, axis=None, kind="stable")[:3]]
    said = ", ".join(f"{classes[a]} taken for {classes[b]} ({table[a, b]})" for a, b in worst if off[a, b] > 0)
    said = f"Commonest confusions: {said}." if said else "No confusions."

    def draw(width: float) -> Figure:
        return _draw_confusion(share, [formats.clean(name) for name in classes], width)

    return Drawing(formats.clean(alt or f"Confusion matrix of {len(classes)} classes. {said}"), draw)


def _draw_confusion(share: np.ndarray, classes: list[str], width: float) -> Figure:
    count, side = len(classes), min(width, 560)
    figure, axes = _new(side, 1)
    pixels = np.empty((count, count, 4))
    pixels[..., :3], pixels[..., 3] = to_rgb(ACCENT), share  # the accent over whatever the page's ground is
    axes.imshow(pixels, interpolation="none")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    small = 11 if count <= 12 else 8.5 if count <= 25 else 7
    if count <= (50 if side > 500 else 25):
        names = [formats.shorten(name, 18 if side > 500 else 11) for name in classes]
        axes.set_xticks(range(count), names, rotation=90, fontsize=small)
        axes.set_yticks(range(count), names, fontsize=small)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if count <= 12:
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.005:
                colour = ON_ACCENT if value > 0.78 else INK
                text = f"{100 * value:.0f}"
                axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=10)
    return figure


def _new(width: float, aspect: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, width * aspect / 72), layout="constrained")
    FigureCanvasAgg(figure)  # so that labels can be measured before they are placed
    return figure, figure.add_subplot()


def _axis(axes: Axes, x: Axis, y: Axis) -> None:
    for axis, plain, name in ((axes.xaxis, x, "x"), (axes.yaxis, y, "y")):
        if plain.log:
            axes.set(**{f"{name}scale": "log"})
            low, high = axis.get_view_interval()
            span = high / low
            subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if span < 8 else (1.0, 2.0, 5.0) if span < 300 else (1.0,)
            axis.set_major_locator(LogLocator(subs=subs, numticks=12))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _, show=plain.show: show(float(value))))
    axes.set_xlabel(formats.clean(x.label))
    _heading(axes, y.label)


def _heading(axes: Axes, text: str) -> None:
    """Names the measured quantity along the top, upright: read without turning the head."""
    axes.set_title(formats.clean(text), loc="left", fontsize=12, color=MUTED, pad=10)


def _rim(points: Sequence[Point], x_better: str, y_better: str) -> list[Point]:
    if not x_better or not y_better:
        return []
    x_sign = 1 if x_better == "less" else -1
    y_sign = 1 if y_better == "less" else -1
    rim: list[Point] = []
    for point in sorted(points, key=lambda p: (x_sign * p.x, y_sign * p.y)):
        if not rim or y_sign * point.y < y_sign * rim[-1].y:
            rim.append(point)
    return rim
