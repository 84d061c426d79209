"""Whatever the bytes are: an error that names the row, or ids in range; never a crash, never out of bounds."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from made_codecs import codec, smooth_ids

from seit import codecs
from seit.errors import CodecError

NAMES = ("zero-order", "context", "learned")
IDS = smooth_ids(37, 8, 8, 100)  # two blocks, the second one short


@pytest.fixture(scope="module", params=NAMES)
def coded(request):
    fitted = codec(request.param, IDS, 100)
    return fitted, *fitted.encode(IDS)


def test_every_damaged_byte_of_a_payload_is_an_error_or_ids_in_range(coded):
    fitted, payload, offsets = coded
    silent = 0
    for at in range(len(payload)):
        damaged = payload.copy()
        damaged[at] ^= (1, 0x80, 0xFF)[at % 3]
        first = (np.searchsorted(offsets, at, "right") - 1) * fitted.rows_per_block
        rows = np.arange(first, min(first + fitted.rows_per_block, 37))
        try:
            ids = fitted.decode(damaged, offsets, rows)
        except CodecError as error:
            assert "row" in str(error)  # noqa: PT017
        else:
            assert ids.max() < 100
            silent += 1
    assert silent <= 2  # the coder's final state is a check


def test_a_damaged_row_does_not_hide_the_others(coded):
    fitted, payload, offsets = coded
    damaged = payload.copy()
    damaged[offsets[1] + 2] ^= 0x55
    first = fitted.rows_per_block
    np.testing.assert_array_equal(fitted.decode(damaged, offsets, np.arange(first)), IDS[:first])
    with pytest.raises(CodecError, match=f"rows {first} to {2 * first - 1} do not decode"):
        fitted.decode(damaged, offsets, np.array([0, first]))


@pytest.mark.parametrize(
    "offsets",
    [
        [0, 1 << 62, 1 << 62],
        [-(1 << 62), 100, 200],
        [0, 0, 0],
        [5, 2, 9],
        [0, 3, 3],
        [0, 100, 1 << 31],
        [-2, 20, 60],
        [0, 21, 40],
    ],
)
def test_hostile_offsets_are_refused(coded, offsets):
    fitted, payload, _ = coded
    for rows in ([0], [32], [0, 36]):
        with pytest.raises(CodecError, match="row"):
            fitted.decode(payload, np.array(offsets), np.array(rows))


@pytest.mark.parametrize("row", [-1, 37, 63, 64, 1 << 40, -(1 << 40)])
def test_rows_that_are_not_there_are_refused(coded, row):
    fitted, payload, offsets = coded
    with pytest.raises(CodecError, match="not there"):
        fitted.decode(payload, offsets, np.array([row]))


def test_cut_and_noisy_payloads_are_refused(coded):
    fitted, payload, offsets = coded
    for length in (0, 1, 3, 4, len(payload) - 1):
        with pytest.raises(CodecError):
            fitted.decode(payload[:length], offsets, np.array([36]))
    noise = np.random.default_rng(0).integers(0, 256, (200, len(payload)), dtype=np.uint8)
    for damaged in noise:
        with pytest.raises(CodecError):
            fitted.decode(damaged, offsets, np.arange(32))


def test_every_damaged_byte_of_a_codec_is_refused_or_harmless(coded):
    fitted, payload, offsets = coded
    data = fitted.to_bytes()
    places = range(len(data)) if len(data) < 2000 else [*range(300), *range(300, len(data), len(data) // 300)]
    for at in places:
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        try:
            loaded = codecs.load(bytes(damaged))
            ids = loaded.decode(payload, offsets, np.array([0]))
        except CodecError:
            continue
        assert ids.max() < loaded.vocabulary


def test_every_damaged_number_of_a_codec_is_refused_or_harmless(coded):
    fitted, payload, offsets = coded
    data = fitted.to_bytes()
    head = data[: 20 + data[9]]
    tables = zlib.decompress(data[len(head) :])  # below the checksum of their compression
    for at in range(0, len(tables), max(1, len(tables) // 500)):
        damaged = bytearray(tables)
        damaged[at] ^= (0xFF, 0x01, 0x80)[at % 3]
        try:
            ids = codecs.load(head + zlib.compress(damaged, 1)).decode(payload, offsets, np.array([0, 36]))
        except CodecError:
            continue
        assert ids.max() < 100


def test_a_codec_cut_anywhere_is_refused(coded):
    data = coded[0].to_bytes()
    for length in [*range(40), len(data) // 2, len(data) - 1]:
        with pytest.raises(CodecError):
            codecs.load(data[:length])


def header(mode: int, vocabulary: int, h: int, w: int, counts: bytes, tables: bytes = b"") -> bytes:
    head = struct.pack("<8sBBHIHH", b"seitids1", mode, len(counts), 0, vocabulary, h, w)
    return head + counts + zlib.compress(tables)


def counts(log: int = 7, classes: int = 1, first: int = 1, parts: int = 1, second: int = 1) -> bytes:
    return struct.pack("<B6H", log, classes, classes, first, parts, parts, second)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html>" * 9,
        header(1, 1 << 31, 8, 8, counts()),
        header(1, 100, 65535, 65535, counts()),
        header(1, 100, 0, 8, counts()),
        header(1, 1 << 18, 8, 8, counts(log=9, first=65535)),
        header(1, 1 << 18, 8, 8, counts(log=0)),
        header(1, 1 << 18, 8, 8, counts(log=9, parts=256)),
        header(1, 1 << 18, 8, 8, counts(log=9, second=256)),
        header(1, 100, 8, 8, counts(log=11)),
        header(1, 100, 8, 8, counts(log=255)),
        header(1, 100, 8, 8, counts(classes=65535)),
        header(1, 100, 8, 8, counts(classes=0)),
        header(1, 100, 8, 8, counts(second=0)),
        header(1, 100, 8, 8, b""),
        header(1, 4, 8, 8, counts(), bytes(1 << 24)),
        header(1, 4, 8, 8, counts(log=2), struct.pack("<4I", 0, 1, 1, 1) + b"\x07" * 10 + bytes(9)),
        header(1, 4, 8, 8, counts(log=2), struct.pack("<4I", 0, 1, 1, 2) + bytes(19)),
        header(2, 1 << 18, 8, 8, struct.pack("<BBHBxH", 8, 64, 256, 7, 9)),
        header(2, 16384, 8, 8, struct.pack("<BBHBxH", 12, 64, 65528, 7, 9)),
        header(2, 100, 8, 8, struct.pack("<BBHBxH", 0, 64, 8, 7, 9)),
        header(2, 100, 8, 8, struct.pack("<BBHBxH", 4, 4, 8, 99, 9)),
        header(3, 100, 8, 8, b""),
    ],
)
def test_hostile_codecs_are_refused_before_memory_is_taken(data):
    with pytest.raises(CodecError):
        codecs.load(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights", 127),
        ("start", 32767),
        ("scale", (1 << 32) - 1),
        ("bias", -(1 << 30)),
        ("place", 0),
        ("neighbours", 0),
    ],
)
def test_a_network_whose_sums_could_overflow_is_refused(field, value):
    fitted = codec("learned", IDS, 100)
    getattr(fitted.fitted, field)[:] = value
    if field == "weights":
        fitted.fitted.cap = 65535
    with pytest.raises(CodecError, match=r"overflow|out of order"):
        codecs.load(fitted.to_bytes())
