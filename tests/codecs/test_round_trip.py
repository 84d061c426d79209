"""Every codec gives back what it was given, in any order, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from seit import codecs
from seit.codecs.base import MAX_VOCABULARY
from seit.errors import CodecError

NAMES = ("zero-order", "context")


def smooth_ids(n: int, h: int, w: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    """Ids with a skewed histogram whose neighbours are often alike."""
    rng = np.random.default_rng(seed)
    ids = (rng.random((n, h, w)) ** 3 * vocabulary).astype(np.int64)
    same = rng.random((n, h, w)) < 0.5
    for column in range(1, w):
        ids[:, :, column] = np.where(same[:, :, column], ids[:, :, column - 1], ids[:, :, column])
    return ids


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n", "h", "w", "vocabulary"),
    [
        (9, 32, 32, 512),
        (37, 8, 8, 512),
        (1, 8, 8, 512),
        (3, 1, 1, 2),
        (5, 7, 13, 3),
        (0, 8, 8, 16),
        (4, 16, 16, 8192),
        (2, 16, 16, 65537),
        (2, 8, 8, MAX_VOCABULARY),
    ],
)
def test_a_codec_decodes_what_it_encoded(name, n, h, w, vocabulary):
    ids = smooth_ids(n, h, w, vocabulary)
    codec = codecs.load(codecs.fit(name, ids, vocabulary).to_bytes())
    payload, offsets = codec.encode(ids)
    decoded = codec.decode(payload, offsets, np.arange(n))
    assert decoded.dtype == (np.uint16 if vocabulary <= 65536 else np.uint32)
    np.testing.assert_array_equal(decoded, ids)
    rows = np.random.default_rng(1).integers(0, max(n, 1), 2 * n)
    np.testing.assert_array_equal(codec.decode(payload, offsets.astype(np.uint32), rows), ids[rows])


def test_an_unknown_codec_is_refused_with_the_nearest_name():
    with pytest.raises(CodecError, match="did you mean 'context'"):
        codecs.fit("contest", np.zeros((1, 2, 2), np.int64), 4)
