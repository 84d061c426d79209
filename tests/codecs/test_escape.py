"""The paper's escape code against its words, the official reader's rules, and the official golden files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seit.codecs import escape
from seit.errors import CodecError

GOLDEN = Path(__file__).parents[1] / "golden" / "seit-official"
SETS = {"imagenet1k-val-": 391, "vocab510-": 510}


def golden(name: str) -> tuple[dict, bytes, bytes]:
    expected = json.loads((GOLDEN / "expected.json").read_text())["sets"][name]
    files = ((GOLDEN / f"{name}token.{kind}.gz").read_bytes() for kind in ("data.bin", "index.npy"))
    return expected, *files


def official_reader(data: bytes) -> list[int]:
    """What the official reader does with one image's bytes, byte by byte."""
    ids, add = [], 0
    for byte in data:
        if byte == 255:
            add = 255
        else:
            ids.append(byte + add)
            add = 0
    return ids


@pytest.mark.parametrize("name", SETS)
def test_official_golden_files_are_read_and_written_again_byte_for_byte(name):
    expected, data, index = golden(name)
    ids = escape.from_official(data, index)
    assert hashlib.sha256(ids.astype("<i2").tobytes()).hexdigest() == expected["ids_sha256_int16le"]
    new_data, new_index = escape.to_official(ids)
    plain = gzip.decompress(new_data)
    assert plain == gzip.decompress(data)
    assert hashlib.sha256(plain).hexdigest() == expected["data_sha256"]
    assert hashlib.sha256(gzip.decompress(new_index)).hexdigest() == expected["index_npy_sha256"]
    assert np.load(io.BytesIO(gzip.decompress(new_index))).tolist() == expected["index"]


def test_marks_follow_the_release_and_repeat_beyond_it():
    symbols, index = escape.encode(np.array([[0, 254, 255, 256], [390, 509, 510, 766]]))
    assert symbols.tolist() == [0, 254, 255, 0, 255, 1, 255, 135, 255, 254, 255, 255, 0, 255, 255, 255, 1]
    assert index.tolist() == [0, 6, 17]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=40), st.integers(2, 12))
def test_any_vocabulary_fits_any_number_of_bits(ids, bits):
    ranks = np.array([ids, ids[::-1]])
    symbols, index = escape.encode(ranks, bits)
    assert symbols.max() < 1 << bits
    np.testing.assert_array_equal(escape.decode(symbols, index, len(ids), bits=bits), ranks)
    np.testing.assert_array_equal(escape.decode(symbols, index, len(ids), np.array([1]), bits), ranks[1:])


@given(st.lists(st.integers(0, 509), min_size=1, max_size=60))
def test_the_official_reader_reads_what_we_write(ids):
    symbols, _ = escape.encode(np.array([ids]))
    assert official_reader(symbols.tobytes()) == ids


def test_what_the_official_reader_would_misread_is_refused_with_the_reason():
    with pytest.raises(CodecError, match=r"vocabulary of 511.*ids end at 509"):
        escape.to_official(np.full((1, 32, 32), 510))
    with pytest.raises(CodecError, match="32 x 32 ids an image only"):
        escape.to_official(np.zeros((1, 16, 16), int))
    file = io.BytesIO()
    np.save(file, np.array([0, 1026]))
    with pytest.raises(CodecError, match="row 0 has two marks"):
        escape.from_official(gzip.compress(b"\xff\xff\x07" + bytes(1023)), gzip.compress(file.getvalue()))


@pytest.mark.parametrize(
    ("data", "index"),
    [
        (bytes(1024), [0, 1023]),
        (bytes(1023) + b"\xff", [0, 1024]),
        (bytes(1024), [0, 1025]),
        (bytes(1024), [0, -1]),
        (bytes(2048), [0, 4000, 2048]),
        (bytes(1024), [5, 1024]),
        (bytes(1024), [0, 1 << 60]),
        (bytes(1024), []),
    ],
)
def test_a_damaged_official_file_is_refused(data, index):
    file = io.BytesIO()
    np.save(file, np.array(index, np.int64))
    with pytest.raises(CodecError, match="damaged"):
        escape.from_official(gzip.compress(data), gzip.compress(file.getvalue()))


def test_an_index_that_claims_more_than_it_holds_is_refused_before_memory_is_taken():
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (1 << 50,)})
    with pytest.raises(CodecError, match=r"not a one-dimensional \.npy"):
        escape.from_official(gzip.compress(b""), gzip.compress(file.getvalue()))


def test_huffman_only_codes_no_repeats():
    data = bytes(range(256)) * 40  # repeats that a dictionary would find, but all symbols alike
    coded = escape.huffman(data)
    assert len(coded) >= len(data)
    assert gzip.decompress(coded) == escape.unhuffman(coded, len(data)) == data
    with pytest.raises(CodecError, match="longer than 100 bytes"):
        escape.unhuffman(coded, 100)


def test_popularity_ranks_the_most_frequent_first():
    assert escape.popularity(np.array([3, 9, 3, 0])).tolist() == [1, 0, 2, 3]
