import itertools
import re

import matplotlib
import numpy as np
import pytest
from invented import HOSTILE
from PIL import Image

from seit.errors import SeitError
from seit.report import figures, formats
from seit.report.figures import Axis, Bar, Line, Point, bars, confusion, curves, frontier

X, Y = Axis("bytes per image", True, formats.size, "less"), Axis("images/s", True, better="more")
POINTS = [Point("raw uint16", 2048, 2e6), Point("zlib", 1500, 1e5), Point("zstd", 1480, 2e5)]
POINTS += [Point("escape", 1150, 3e3), Point("zero order", 1100, 2.5e5, True), Point("context", 900, 8.6e4, True)]
POINTS += [Point("learned", 830, 3.2e3, True)]


def all_kinds(word="word"):
    yield curves([Line(word, [1, 2, 3], [0.1, 0.2, 0.3]), Line("b", [1, 3], [0.2, 0.3])], Axis(word), Axis(word))
    yield frontier([Point(word, 1, 2, True), Point(word, 3, 4)], X, Y)
    yield bars([Bar(word, 3, word, True), Bar("b", 1)], Axis(word))
    yield confusion([[3, 1], [0, 2]], [word, "b"])


def test_a_drawing_on_the_page_takes_the_themes_colours():
    for drawing in all_kinds():
        text = drawing.svg()
        assert "var(--muted)" in text
        assert not re.search(r"#0b6170|#1a1e22|#59636c", text)
        assert "font-family" not in text


def test_a_drawing_leaks_no_style_and_no_address_into_the_page():
    for drawing in all_kinds(HOSTILE):
        text = drawing.svg()
        assert text.startswith("<svg ")
        assert not re.search(r"<style|<metadata|xmlns|https?:|<!--|<img|\?xml", text)


def test_a_drawing_for_a_phone_keeps_the_size_of_its_letters():
    for drawing in all_kinds():
        wide, narrow = (set(re.findall(r"font-size: ([\d.]+)px", drawing.svg(w))) for w in (760, 360))
        assert max(map(float, wide)) == max(map(float, narrow)) == 12


def test_a_png_has_twice_the_css_pixels_and_the_same_bytes_twice(tmp_path):
    drawing = next(all_kinds())
    drawing.write_png(tmp_path / "a.png", 600)
    drawing.write_png(tmp_path / "b.png", 600)
    assert Image.open(tmp_path / "a.png").width == 1200
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_shared_style_does_not_stay_behind():
    before = dict(matplotlib.rcParams)
    for drawing in all_kinds():
        drawing.svg()
    assert dict(matplotlib.rcParams) == before


def test_the_rim_is_the_points_that_no_other_beats():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [Point(str(i), *rng.integers(1, 9, 2).tolist()) for i in range(12)]

        def beaten(p, points=points):
            return any(q.x <= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in points)

        want = {(p.x, p.y) for p in points if not beaten(p)}
        assert {(p.x, p.y) for p in figures._rim(points, "less", "more")} == want


@pytest.mark.parametrize("width", [760, 360])
def test_names_of_points_cover_neither_each_other_nor_a_point(width):
    with matplotlib.rc_context(figures._STYLE):
        figure = frontier(POINTS, X, Y).draw(width)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        boxes = [text.get_window_extent() for text in axes.texts]
        spots = [axes.transData.transform((p.x, p.y)) for p in POINTS]
    assert len(boxes) == len(POINTS)
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for box in boxes:
        assert not any(box.contains(*spot) for spot in spots)
        assert box.x0 >= 0
        assert box.x1 <= width


def test_names_of_curves_that_end_together_stay_apart():
    lines = [Line(f"run {i}", [0, 1], [0, 0.7 + i / 1000]) for i in range(5)]
    with matplotlib.rc_context(figures._STYLE):
        figure = curves(lines, Axis("step"), Axis("top-1")).draw(760)
        figure.draw_without_rendering()
        places = sorted(text.get_window_extent().y0 for text in figure.axes[0].texts)
    assert min(np.diff(places)) >= 12


def test_alternative_texts_say_the_numbers():
    assert (
        "tokens ends at 72%"
        in curves(
            [Line("tokens", [1, 2], [0.1, 0.72])],
            Axis("epoch"),
            Axis("top-1", show=lambda v: formats.percent(v, 0)),
        ).alt
    )
    assert "cat taken for dog (9)" in confusion([[3, 9], [0, 2]], ["cat", "dog"]).alt
    assert "No confusions" in confusion([[3, 0], [0, 2]], ["cat", "dog"]).alt


def test_a_confusion_matrix_draws_from_one_class_to_a_thousand():
    for count in (1, 2, 60, 1000):
        names = [f"class {i}" for i in range(count)]
        assert confusion(np.eye(count, dtype=int), names).svg(360).startswith("<svg")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: curves([], Axis("x"), Axis("y")), "0 curves"),
        (lambda: curves([Line("tokens", [1], [1, 2])], Axis("x"), Axis("y")), "curve 'tokens': 1 x, 2 y"),
        (lambda: frontier([Point("p", 0, 1)], X, Y), "point 'p'"),
        (lambda: bars([Bar("b", float("nan"))], Axis("x")), "bar 'b'"),
        (lambda: bars([Bar("b", 1)], Axis("x", log=True)), "log axis"),
        (lambda: confusion([[1, 2]], ["a"]), "1, 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_name(make, message):
    with pytest.raises(SeitError, match=message):
        make()
