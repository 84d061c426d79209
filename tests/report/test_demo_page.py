import base64
import dataclasses
import io
import json
import re

import pytest
from browser import CHROMIUM, Browser
from invented import HOSTILE, pictures, result
from markup import Markup
from PIL import Image

from seit.report.demo import demo_page, interval

REQUIRED = ["token_top1", "pixel_top1", "jpeg_bytes_per_image", "jpeg_payload_bytes_per_image"]
REQUIRED += ["token_bytes_per_image", "photo_ratio", "seconds"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return demo_page(result(), pictures(), tmp_path_factory.mktemp("demo") / "report.html")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page is not opened")
    with Browser() as running:
        yield running


def test_the_page_is_below_3_mb_with_a_dozen_photos(tmp_path):
    shown = pictures()
    shown = dataclasses.replace(shown, photos=[*shown.photos, *shown.photos])
    assert len(shown.photos) == 12
    assert demo_page(result(), shown, tmp_path / "report.html").stat().st_size < 3_000_000


def test_every_picture_of_the_page_decodes_at_its_stated_size(page):
    images = Markup(page.read_text()).of("img")
    assert len(images) == 2 * 6 + 2 * 20 + 40
    for one in images:
        picture = Image.open(io.BytesIO(base64.b64decode(one["src"].split(",", 1)[1])))
        picture.load()
        assert picture.size == (int(one["width"]), int(one["height"]))
        assert one["alt"]


def test_the_page_says_the_numbers_of_the_result(page):
    text = " ".join("".join(Markup(page.read_text()).text).split())
    for number in ("58.7%", "57.1%", "1,243", "618", "448,474", "89.7", "2.03%", "0.82%", "4 min 07 s"):
        assert number in text.replace("\u00a0", " ").replace("58.7 %", "58.7%"), number


def test_the_result_file_has_the_promised_keys_and_counts_everything():
    values = json.loads(json.dumps(result().json()))
    assert all(isinstance(values[key], float | int) for key in REQUIRED)
    store = values["store"]
    parts = sum(v for k, v in store.items() if k.endswith("_bytes") and k != "total_bytes")
    assert parts == store["total_bytes"]
    assert values["token_bytes_per_image"] == pytest.approx(parts / store["images"])
    assert values["photo_ratio"] == pytest.approx(values["photo_store"]["total_bytes"] / values["photo_jpeg_bytes"])


def test_the_interval_is_wilsons():
    from scipy.stats import binomtest

    for right, count in ((0, 10), (587, 1000), (999, 1000)):
        want = binomtest(right, count).proportion_ci(method="wilson")
        assert interval(right / count, count) == pytest.approx((want.low, want.high), abs=1e-6)


def test_time_that_no_step_accounts_for_is_shown(page):
    assert "everything else" in page.read_text()


def test_hostile_names_add_no_element(page, tmp_path):
    hostile = demo_page(result(HOSTILE, [HOSTILE] * 10), pictures(HOSTILE), tmp_path / "report.html")
    calm, other = Markup(page.read_text()), Markup(hostile.read_text())
    assert other.problems == calm.problems == []
    assert len(other.of("img")) == len(calm.of("img"))
    assert not other.of("script")
    assert {tag for tag, _ in other.tags} == {tag for tag, _ in calm.tags}


def test_a_page_without_optional_parts_is_whole(tmp_path):
    plain = result()
    run = dataclasses.replace(plain.tokens, curve=(), confusion=())
    plain = dataclasses.replace(plain, tokens=run, pixels=run)
    shown = dataclasses.replace(pictures(), photos=(), pairs=(), predictions=())
    assert Markup(demo_page(plain, shown, tmp_path / "report.html").read_text()).problems == []


@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_chromium_draws_every_picture_says_nothing_and_asks_for_nothing(page, browser, width, dark):
    said = browser.open(page, width, dark=dark)
    assert said == {"console": [], "requests": [page.resolve().as_uri()]}
    assert browser.evaluate("document.images.length") == 92
    assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.clientWidth > 20)")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    shown = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 100).length"
    assert browser.evaluate(shown) == 3
    ground = browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 100 if dark else ground == "rgb(255, 255, 255)"


def test_chromium_runs_nothing_of_a_hostile_name_and_the_page_keeps_its_width(browser, tmp_path):
    hostile = demo_page(result(HOSTILE, [HOSTILE] * 10), pictures(HOSTILE * 3), tmp_path / "report.html")
    said = browser.open(hostile, 390)
    assert said == {"console": [], "requests": [hostile.resolve().as_uri()]}
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_the_check_of_the_console_can_fail(page, browser, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("</main>", "<img src='x.png' alt=''><script>1</script></main>"))
    said = browser.open(broken)
    assert any("Content Security Policy" in line for line in said["console"])
    assert not browser.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
