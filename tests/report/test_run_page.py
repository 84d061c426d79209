import dataclasses

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from invented import CLASSES, HOSTILE
from markup import Markup
from PIL import Image

from seit.report.run import RunResult, run_curves, run_page


def lines(epochs=8):
    """What a training that gets better writes, an epoch a line."""
    top1 = 0.6 - 0.5 * np.exp(-np.arange(1, epochs + 1) / 3)
    return [
        {
            "step": 47 * (i + 1),
            "epoch": float(i + 1),
            "loss": 2.3 - 0.15 * i,
            "learning_rate": 0.003,
            "top1": float(top1[i]),
            "top5": float(top1[i] + 0.3),
            "images_per_second": 812.5,
            "data_wait_share": 0.004,
            "seconds": 9.5 * (i + 1),
        }
        for i in range(epochs)
    ]


def result(classes=CLASSES, name="runs/tiny", **changes):
    """A run of 8 epochs; the second class is taken for the first in 9 of 30 rows, and no other is mistaken more."""
    counts = np.diag(np.full(len(classes), 21)) + np.eye(len(classes), k=1, dtype=int) * 3
    counts[1, 0] += 9
    shares = counts.diagonal() / counts.sum(1)
    whole = RunResult(
        name=name,
        recipe_name="mini",
        data="tiny.tokens",
        data_bytes=1_506_020,
        rows=5000,
        held_out_rows=int(counts.sum()),
        lines=lines(),
        result={"top1": 0.565, "best_top1": 0.571, "top5": 0.865, "train_seconds": 76.0, "parameters": 684_234},
        recipe={"trunk": "mini_resnet", "epochs": 8.0, "batch_size": 128, "augment": [{"name": "flip", "p": 0.5}]},
        augment="flip(probability=0.5) -> centre_crop() -> smoothing(0.1)",
        frozen="none",
        machine={"processor": "invented", "torch": "2"},
        command=f"seit train tiny.tokens --out {name}",
        found={"per_class": dict(zip(classes, shares.tolist(), strict=True)), "confusion": counts.tolist()},
        classes=classes,
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page is not opened")
    with Browser() as running:
        yield running


def text_of(page):
    return " ".join("".join(Markup(page.read_text()).text).split()).replace("\u00a0", " ")


def test_the_page_says_the_run_numbers(tmp_path):
    page = run_page(result(frozen="3 crops"), tmp_path / "report.html")
    said = text_of(page)
    for number in (
        "56.5",
        "at best 57.1%",
        "1 min 16 s",
        "812 images a second",
        "0.4% of the time waiting for data",
    ):
        assert number in said, number
    for number in (
        "1.51 MB",
        "684,234 weights",
        "batch_size",
        "128",
        "seit train tiny.tokens --out runs/tiny",
        "automobile",
    ):
        assert number in said, number
    assert "flip(probability=0.5) -> centre_crop() -> smoothing(0.1)" in said
    assert "frozen into the data: 3 crops." in said
    assert Markup(page.read_text()).problems == []


def test_the_worst_class_comes_first_with_what_it_is_taken_for(tmp_path):
    said = text_of(run_page(result(), tmp_path / "report.html"))
    table = said[said.index("Top-1 of each class") :]
    assert table.index("automobile") < table.index("airplane")
    assert "automobile 63.6% 33 airplane (9)" in table


def test_of_many_classes_the_worst_are_listed_and_of_very_many_none_are_drawn(tmp_path):
    many = [f"class {i:03}" for i in range(60)]
    said = text_of(run_page(result(many), tmp_path / "many.html"))
    assert "The 50 worst of 60 classes" in said
    assert "What it takes for what" in said
    more = [f"class {i:03}" for i in range(201)]
    assert "What it takes for what" not in text_of(run_page(result(more), tmp_path / "more.html"))


def test_a_run_without_held_out_rows_or_of_one_epoch_has_a_page_too(tmp_path):
    bare = result(
        held_out_rows=0, lines=lines(1), found={}, data_bytes=None, result={"train_seconds": 1.0, "parameters": 3}
    )
    said = text_of(run_page(bare, tmp_path / "report.html"))
    assert "Along the way" not in said
    assert "Class by class" not in said


def test_curves_are_drawn_of_what_was_measured(tmp_path):
    assert list(run_curves(lines())) == ["loss", "accuracy"]
    unlabelled = [{key: line[key] for key in ("epoch", "loss")} for line in lines()]
    assert list(run_curves(unlabelled)) == ["loss"]
    assert run_curves(lines(1)) == {}
    drawing = run_curves(lines())["accuracy"]
    assert "top-1 ends at 57%" in drawing.alt
    drawing.write_png(tmp_path / "accuracy.png")
    with Image.open(tmp_path / "accuracy.png") as picture:
        assert picture.size[0] == 1520
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_hostile_names_add_no_element(tmp_path):
    calm = run_page(result(), tmp_path / "calm.html")
    names = [f"{HOSTILE}{i}" for i in range(10)]
    hostile = run_page(
        result(names, HOSTILE, recipe_name=HOSTILE, data=HOSTILE, frozen=HOSTILE), tmp_path / "hostile.html"
    )
    shapes = [
        [(tag, sorted(attributes)) for tag, attributes in Markup(page.read_text()).tags if tag != "code"]
        for page in (calm, hostile)
    ]
    assert [tag for tag, _ in shapes[0]].count("script") == [tag for tag, _ in shapes[1]].count("script") == 0
    assert [one for one in shapes[0] if one[0] in ("img", "a", "td", "th", "section")] == [
        one for one in shapes[1] if one[0] in ("img", "a", "td", "th", "section")
    ]


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (360, True)], ids=["desk", "phone in the dark"])
def test_a_browser_shows_it_without_a_complaint_or_a_request(width, dark, browser, tmp_path):
    page = run_page(result(), tmp_path / "report.html")
    seen = browser.open(page, width, dark=dark)
    assert seen["console"] == []
    assert seen["requests"] == [page.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shown = (
        "[...document.querySelectorAll('figure.plot svg')].filter(s => s.getBoundingClientRect().width > 0).length"
    )
    assert browser.evaluate(shown) == 3
