import itertools
import re
from pathlib import Path

import pytest
from invented import HOSTILE, small
from markup import Markup

import seit.report
from seit.errors import SeitError
from seit.report import formats
from seit.report.figures import Axis, Line, curves
from seit.report.page import Column, Headline, Page, Part
from seit.report.pictures import Tile

CSS = (Path(seit.report.__file__).parent / "page.css").read_text()


def everything(word: str) -> Page:
    """A page with every kind of block, `word` in each place that takes text."""
    page = Page(word, word, word)
    page.headlines([Headline(word, word, word, word)])
    page.section(word, word)
    page.text(f"{word}\n\n{word}")
    page.table(word, [Column(word, word), Column(word, align="left")], [[word, 1], [word, None]], word, {0})
    page.pictures(word, [Tile((small(0), small(1)), (word, word), word, False)], (word, word), word)
    page.figure(curves([Line(word, [1, 2], [1, 2])], Axis(word), Axis(word)), word, word)
    page.shares(word, [Part(word, 1, word)], formats.number, word, word)
    page.details(word, {word: word})
    page.commands(word, [(word, word)], word)
    return page


def test_every_tag_is_closed_in_order_and_headings_go_down_by_one():
    markup = Markup(everything("word").html())
    assert markup.problems == []
    levels = [level for level, _ in markup.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_a_hostile_name_adds_no_tag_and_no_attribute_anywhere():
    calm, hostile = Markup(everything("word").html()), Markup(everything(HOSTILE).html())
    assert hostile.problems == []
    shape = [(tag, sorted(attributes)) for tag, attributes in calm.tags]
    # Backticks of prose become <code> in both, once for each pair; nothing else may differ.
    other = [(tag, sorted(attributes)) for tag, attributes in hostile.tags if tag != "code"]
    assert other == [one for one in shape if one[0] != "code"]
    text = "".join(hostile.text)
    assert "<img src=x onerror=alert(1)>" in text
    assert "{{7*7}}" in text
    assert "\\u202e" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\udc80]", everything(HOSTILE).html())


def test_a_hostile_name_is_written_as_utf8(tmp_path):
    path = everything(HOSTILE).write(tmp_path / "page.html")
    assert "\\udc80" in path.read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing():
    page = everything("word").html()
    markup = Markup(page)
    assert not re.search(r"https?:|[\s\"'(]//\w|@import|url\((?!#)|<script|<iframe|\son\w+=", page)
    for _, attributes in markup.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    policy = next(one["content"] for one in markup.of("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_ids_are_unique_and_every_reference_is_kept():
    page = everything("word")
    page.figure(curves([Line("b", [1, 2], [1, 3])], Axis("x"), Axis("y")), "again")
    tags = Markup(page.html()).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        for value in attributes.values():
            for name in re.findall(r"^#(.+)$|url\(#(.+?)\)", value):
                assert "".join(name) in ids


def test_pictures_have_alternative_texts_that_say_which_is_which():
    page = Page("t")
    page.pictures("c", [Tile((small(0), small(1)), ("cat 7", "12 B"), "cat.jpg")], ("original", "decoded"))
    assert [one["alt"] for one in Markup(page.html()).of("img")] == ["cat.jpg, original", "cat.jpg, decoded"]


def test_right_and_wrong_differ_by_sign_word_and_frame():
    page = Page("t")
    page.pictures("c", [Tile((small(0),), ("cat",), mark=True), Tile((small(1),), ("dog",), mark=False)])
    html = page.html()
    assert re.search(r"\u2713<span class=\"sr\"> right: </span> cat", html)
    assert re.search(r"\u2717<span class=\"sr\"> wrong: </span> dog", html)
    assert html.count('class="pair wrong"') == 1


def test_tables_name_their_rows_and_columns():
    page = Page("t")
    page.table("c", [Column("codec"), Column("speed", "images/s")], [["context", 85_000], ["none", None]])
    html = page.html()
    assert [one["scope"] for one in Markup(html).of("th")] == ["col", "col", "row", "row"]
    assert "<td>85,000</td>" in html
    assert "<td>\u2013</td>" in html


def test_a_row_of_the_wrong_length_is_refused_by_name():
    with pytest.raises(SeitError, match="table 'speed': a row of 1 cells; give 2"):
        Page("t").table("speed", [Column("a"), Column("b")], [["x"]])


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_part_without_a_length_is_refused_by_name(value):
    with pytest.raises(SeitError, match="part 'p' of 'whole'"):
        Page("t").shares("whole", [Part("p", value)])


def test_shares_of_nothing_are_zero():
    page = Page("t")
    page.shares("c", [Part("p", 0.0)])
    assert "<td>0.0%</td>" in page.html()


def test_lines_of_a_command_stay_lines():
    page = Page("t")
    page.commands("c", [("both", "seit info a\nseit show a")])
    assert "<code>seit info a\nseit show a</code>" in page.html()


def test_the_same_page_is_the_same_bytes_but_for_the_numbers_of_its_drawings():
    first, second = (re.sub(r"\bd\d+-", "d-", everything("word").html()) for _ in range(2))
    assert first == second


def test_letters_have_contrast_in_both_themes():
    light, dark = (dict(re.findall(r"--(\w[\w-]*): (#\w{6})", part)) for part in CSS.split("@media screen")[:2])

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    pairs = [("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("ink", "wash")]
    pairs += [("on-accent", "accent"), ("ink", "soft")]
    for theme in (light, dark):
        for front, ground in pairs:
            assert contrast(theme[front], theme[ground]) >= 4.5, (front, ground)
        assert contrast(theme["grey"], theme["paper"]) >= 3
