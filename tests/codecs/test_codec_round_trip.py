"""Every codec gives back what it was given, in any order, at any size, and a decoder from FORMAT.md agrees."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_codecs import codec, smooth_ids
from reference_decoder import Reference

from seit import codecs
from seit.codecs import tables
from seit.codecs.base import MAX_VOCABULARY
from seit.errors import CodecError

NAMES = ("zero-order", "context", "learned")


def check(name: str, ids: np.ndarray, vocabulary: int) -> None:
    fitted = codec(name, ids, vocabulary)
    loaded = codecs.load(fitted.to_bytes())
    assert loaded.to_bytes() == fitted.to_bytes()
    payload, offsets = fitted.encode(ids)
    assert payload.dtype == np.uint8
    assert offsets.dtype == np.int64
    assert len(offsets) == -(-len(ids) // fitted.rows_per_block) + 1
    decoded = loaded.decode(payload, offsets, np.arange(len(ids)))
    assert decoded.dtype == (np.uint16 if vocabulary <= 65536 else np.uint32)
    np.testing.assert_array_equal(decoded, ids)
    rows = np.random.default_rng(1).integers(0, max(len(ids), 1), 2 * len(ids))
    np.testing.assert_array_equal(loaded.decode(payload, offsets.astype(np.uint32), rows), ids[rows])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n", "h", "w", "vocabulary"),
    [
        (9, 32, 32, 512),
        (37, 8, 8, 391),
        (1, 8, 8, 512),
        (3, 1, 1, 2),
        (5, 7, 13, 3),
        (0, 8, 8, 16),
        (2, 40, 40, 65),
    ],
)
def test_a_codec_decodes_what_it_encoded(name, n, h, w, vocabulary):
    check(name, smooth_ids(n, h, w, vocabulary), vocabulary)


@pytest.mark.parametrize("vocabulary", [4097, 8192, 65536, 65537, MAX_VOCABULARY])
def test_large_vocabularies_work_and_widen_the_ids(vocabulary):
    check("zero-order", smooth_ids(2, 8, 8, vocabulary), vocabulary)
    if vocabulary in (8192, MAX_VOCABULARY):
        check("context", smooth_ids(2, 8, 8, vocabulary), vocabulary)


@pytest.mark.parametrize("name", NAMES)
def test_one_code_and_uniform_sets_work_and_unseen_ids_too(name):
    one = np.full((5, 8, 8), 3)
    fitted = codec(name, one, 16)
    payload, offsets = fitted.encode(one)
    np.testing.assert_array_equal(fitted.decode(payload, offsets, np.arange(5)), one)
    uniform = np.arange(5 * 64).reshape(5, 8, 8) % 16
    payload, offsets = fitted.encode(uniform)
    np.testing.assert_array_equal(fitted.decode(payload, offsets, np.arange(5)), uniform)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_ids_of_any_vocabulary_and_grid_come_back(data):
    vocabulary = data.draw(st.sampled_from([2, 3, 8, 9, 64, 65, 391]))
    n, h, w = (data.draw(st.integers(0 if k == 0 else 1, 9)) for k in range(3))
    ids = np.array(data.draw(st.lists(st.integers(0, vocabulary - 1), min_size=n * h * w, max_size=n * h * w)))
    ids = ids.astype(np.int64).reshape(n, h, w)
    check(data.draw(st.sampled_from(NAMES)), ids, vocabulary)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "h", "w", "vocabulary"), [(2, 32, 33, 20), (33, 8, 8, 391), (2, 5, 3, 5)])
def test_a_decoder_written_from_the_format_alone_agrees(name, n, h, w, vocabulary):
    ids = smooth_ids(n, h, w, vocabulary)
    fitted = codec(name, ids, vocabulary)
    payload, offsets = fitted.encode(ids)
    reference = Reference(fitted.to_bytes())
    for block, (start, end) in enumerate(itertools.pairwise(offsets)):
        rows = reference.rows_of(payload[start:end].tobytes())
        first = block * fitted.rows_per_block
        np.testing.assert_array_equal(rows, ids[first : first + fitted.rows_per_block])


def test_large_vocabularies_agree_with_the_format_too():
    ids = smooth_ids(1, 8, 8, 5000)
    fitted = codec("zero-order", ids, 5000)
    payload, _ = fitted.encode(ids)
    np.testing.assert_array_equal(Reference(fitted.to_bytes()).rows_of(payload.tobytes()), ids)


def test_zero_order_comes_within_one_percent_of_the_entropy_with_offsets_and_labels():
    ids = smooth_ids(400, 32, 32, 4096)
    ids = ids // 8 if ids.max() < 4096 else ids
    vocabulary = int(ids.max()) + 1
    p = np.bincount(ids.reshape(-1)) / ids.size
    entropy = -(p[p > 0] * np.log2(p[p > 0])).sum() * 1024 / 8
    payload, offsets = codecs.fit("zero-order", ids, vocabulary).encode(ids)
    assert len(payload) / len(ids) + 4 + 2 <= 1.01 * entropy
    assert len(offsets) == len(ids) + 1


def test_contexts_beat_the_entropy_and_auto_takes_zero_order_for_little_data():
    ids = smooth_ids(300, 16, 16, 64)
    context = codecs.fit("auto", ids, 64)
    zero = codecs.fit("zero-order", ids, 64)
    assert context.name == "context"
    sizes = [len(c.encode(ids)[0]) + len(c.to_bytes()) for c in (context, zero)]
    assert sizes[0] < 0.85 * sizes[1]
    assert codecs.fit("auto", ids[:1, :4, :4], 64).name == "zero-order"


def test_decoding_from_many_threads_and_a_pickled_codec_gives_the_same():
    ids = smooth_ids(1200, 8, 8, 300)
    fitted = codecs.fit("context", ids, 300)
    payload, offsets = fitted.encode(ids)
    again = pickle.loads(pickle.dumps(fitted))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda c: c.decode(payload, offsets, np.arange(1200)), [fitted, again] * 4))
    for result in results:
        np.testing.assert_array_equal(result, ids)


def test_decode_fills_the_array_it_is_given_and_refuses_another():
    ids = smooth_ids(6, 8, 8, 50)
    fitted = codecs.fit("zero-order", ids, 50)
    payload, offsets = fitted.encode(ids)
    out = np.zeros((2, 8, 8), np.uint16)
    assert fitted.decode(payload, offsets, np.array([4, 4]), out) is out
    np.testing.assert_array_equal(out, ids[[4, 4]])
    with pytest.raises(CodecError, match="pass a contiguous uint16"):
        fitted.decode(payload, offsets, np.array([4]), out)


def test_probabilities_of_any_costs_sum_to_one_and_spare_nobody():
    costs = np.random.default_rng(0).integers(0, 256, (40, 300)).astype(np.uint8)
    costs[0] = 255
    present = np.array([1, 2, 299, 300] * 10)
    frequencies = tables.frequencies_of(costs, present)
    there = np.arange(300) < present[:, None]
    assert (frequencies[there] > 0).all()
    assert not frequencies[~there].any()
    assert (frequencies.sum(1) == 1 << 14).all()


@pytest.mark.parametrize(
    ("ids", "vocabulary", "words"),
    [
        (np.zeros((1, 2, 2)), 4, "pass integers"),
        (np.zeros((2, 2), int), 4, "pass integers"),
        (np.full((1, 2, 2), 4), 4, r"vocabulary is 0\.\.3"),
        (np.full((1, 2, 2), -1), 4, "ids run from -1"),
        (np.zeros((1, 2, 2), int), 1, "takes 2 to 262144"),
        (np.zeros((1, 2, 2), int), MAX_VOCABULARY + 1, "takes 2 to 262144"),
    ],
)
def test_what_cannot_be_coded_is_refused_with_the_cure(ids, vocabulary, words):
    with pytest.raises(CodecError, match=words):
        codecs.fit("zero-order", ids, vocabulary)


def test_an_unknown_codec_is_refused_with_the_nearest_name():
    with pytest.raises(CodecError, match="did you mean 'context'"):
        codecs.fit("contest", np.zeros((1, 2, 2), np.int64), 4)


def test_the_learned_code_says_up_to_which_vocabulary_it_is_offered():
    with pytest.raises(CodecError, match="16384"):
        codecs.fit("learned", np.zeros((1, 2, 2), np.int64), 16385)
