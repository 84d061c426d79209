import math

import pytest

from seit.report import formats

NB = "\u00a0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, f"12{NB}ms"),
        (0.84, f"0.84{NB}s"),
        (9.96, f"10{NB}s"),
        (59.96, f"1{NB}min 00{NB}s"),
        (75, f"1{NB}min 15{NB}s"),
        (3599.6, f"1{NB}h 00{NB}min"),
        (7500, f"2{NB}h 05{NB}min"),
    ],
)
def test_durations_never_show_60_of_the_smaller_unit(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999.9, "1 kB"), (1110, "1.11 kB"), (109_300, "109 kB"), (140e9, "140 GB")],
)
def test_sizes_are_decimal(count, text):
    assert formats.size(count).replace(NB, " ") == text


def test_numbers_keep_three_significant_digits_and_thousands():
    assert [formats.number(v) for v in (1_281_167, 0.01234, 12345.6, -2, None, math.nan, 0)] == [
        "1,281,167", "0.0123", "12,346", "\u22122", "\u2013", "\u2013", "0",
    ]  # fmt: skip


def test_cleaning_shows_control_characters_and_keeps_every_script():
    assert formats.clean("a\x1b[31m\u202eb\udc80\x00") == "a\\x1b[31m\\u202eb\\udc80\\x00"
    for name in ("naïve café", "日本語.jpg", "наука", "می\u200cخواهم", "👩\u200d🔬.png"):
        assert formats.clean(name) == name


def test_cleaned_text_is_utf8_and_one_line_for_every_character():
    for code in range(0x11000):
        cleaned = formats.clean(chr(code))
        assert "\n" not in cleaned
        cleaned.encode()


def test_shortening_keeps_both_ends():
    assert formats.shorten("train/n01440764/ILSVRC2012_val_00000293.JPEG", 20) == "train/n01\u202600293.JPEG"
    assert len(formats.shorten("x" * 500, 48)) == 48
    assert formats.shorten("short.jpg", 9) == "short.jpg"
