"""Places names at what they name in a drawing, apart from each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from seit.report import formats
from seit.report.canvas import Axes, Figure

Named = tuple[str, float, float, str]
"""A name, the x and y of what it names, and its colour."""

_Box = tuple[float, float, float, float]
_LINE = 16  # pixels from one line of letters to the next


def label_ends(figure: Figure, axes: Axes, ends: Sequence[Named]) -> None:
    """Writes each curve's name behind its last point, at least a line's height apart."""
    texts = []
    for name, x, y, colour in ends:
        name = formats.shorten(formats.clean(name), 24)
        texts.append(axes.annotate(name, (x, y), (6, 0), textcoords="offset points", va="center", color=colour))
    figure.draw_without_rendering()
    wanted = [float(axes.transData.transform((x, y))[1]) for _, x, y, _ in ends]
    floor = -np.inf
    for i in sorted(range(len(ends)), key=lambda i: wanted[i]):
        place = max(wanted[i], floor)
        texts[i].set_position((6, place - wanted[i]))
        floor = place + _LINE


def label_points(figure: Figure, axes: Axes, points: Sequence[Named], rim: Sequence[tuple[float, float]]) -> None:
    """Writes each point's name on the side of it where it covers nothing else, as far as there is one.

    Args:
        figure: the figure, with its data and limits in place.
        axes: its axes.
        points: what to name.
        rim: corners of the line that the names shall keep clear of.
    """
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    inside = (frame.x0, frame.y0, frame.x1, frame.y1)
    spots = [axes.transData.transform((x, y)) for _, x, y, _ in points]
    taken: list[_Box] = [(px - 6, py - 6, px + 6, py + 6) for px, py in spots]
    for start, end in itertools.pairwise([axes.transData.transform(corner) for corner in rim]):
        steps = max(2, int(np.hypot(*(end - start)) / 4))
        taken += [(px - 2, py - 2, px + 2, py + 2) for px, py in np.linspace(start, end, steps)]
    sides = [(9, 0, "left", "center"), (-9, 0, "right", "center"), (0, 9, "center", "bottom")]
    sides += [(0, -9, "center", "top"), (8, 8, "left", "bottom"), (8, -8, "left", "top")]
    sides += [(-8, 8, "right", "bottom"), (-8, -8, "right", "top")]
    for name, x, y, colour in points:
        tries: list[tuple[float, Any, _Box]] = []
        for dx, dy, ha, va in sides:
            text = axes.annotate(
                formats.shorten(formats.clean(name), 32),
                (x, y),
                (dx, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                color=colour,
            )
            text.set_in_layout(False)  # the frame must not move under the names already placed
            box = text.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
            edges = (box.x0, box.y0, box.x1, box.y1)
            outside = box.width * box.height - _overlap(edges, inside)
            tries.append((sum(_overlap(edges, other) for other in taken) + 3 * outside, text, edges))
        best = min(tries, key=lambda one: round(one[0]))  # of equals the first: to the right is usual
        taken.append(best[2])
        for one in tries:
            if one is not best:
                one[1].remove()


def _overlap(a: _Box, b: _Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
