"""The test vectors of the format: the package and a decoder written from the page read them alike."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from reference_decoder import QUARTERS, Reference

from seit import codecs

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
PAGE = (Path(codecs.__file__).parent / "FORMAT.md").read_text()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_decoder_written_from_the_page_reads_the_vectors(vector):
    reference, payload = Reference(bytes.fromhex(vector["codec"])), bytes.fromhex(vector["payload"])
    blocks = [reference.rows_of(payload[start:end]) for start, end in itertools.pairwise(vector["offsets"])]
    np.testing.assert_array_equal(np.concatenate(blocks), vector["ids"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_package_reads_and_writes_the_vectors(vector):
    codec = codecs.load(bytes.fromhex(vector["codec"]))
    ids, offsets = np.array(vector["ids"]), np.array(vector["offsets"])
    payload = np.frombuffer(bytes.fromhex(vector["payload"]), np.uint8)
    np.testing.assert_array_equal(codec.decode(payload, offsets, np.arange(len(ids))), ids)
    for mine, kept in zip(codec.encode(ids), (payload, offsets), strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_vectors_cover_both_modes_and_both_widths():
    headers = [bytes.fromhex(vector["codec"]) for vector in VECTORS]
    assert {header[8] for header in headers} == {1, 2}
    assert {codecs.load(header).dtype.itemsize for header in headers} == {2, 4}


def test_the_page_works_the_first_vector_and_names_the_constants():
    first = VECTORS[0]
    assert first["payload"] in PAGE
    assert first["codec"] in PAGE
    reference = Reference(bytes.fromhex(VECTORS[2]["codec"]))
    for numbers in (reference.powers, QUARTERS):
        digest = hashlib.sha256(np.array(numbers, "<u4").tobytes()).hexdigest()
        assert digest in PAGE
