"""Ids of one data set in those of another: codes that both keep are themselves, others the nearest vector's."""

import tracemalloc

import numpy as np
import pytest

from seit.loading.remap import translation


def naive(codes, vectors, known_codes, known_vectors):
    found = []
    for code, vector in zip(codes.tolist(), vectors.astype(np.float64), strict=True):
        if code in known_codes.tolist():
            found.append(known_codes.tolist().index(code))
        else:
            found.append(int(np.square(known_vectors.astype(np.float64) - vector).sum(1).argmin()))
    return found


@pytest.mark.parametrize("kept", [3, 40, 64])
def test_shared_codes_keep_their_place_and_others_become_the_nearest(kept):
    rng = np.random.default_rng(kept)
    table = rng.normal(size=(64, 5)).astype(np.float32)
    mine, theirs = (np.sort(rng.choice(64, size, replace=False)) for size in (50, kept))
    found = translation(mine, table[mine], theirs, table[theirs])
    assert found.tolist() == naive(mine, table[mine], theirs, table[theirs])


@pytest.mark.parametrize("shared", [True, False])
def test_large_codebooks_are_compared_in_parts(shared):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6000, 64)).astype(np.float32)  # all pairs and entries at once: 9 GB
    codes = np.arange(6000)
    tracemalloc.start()
    found = translation(codes if shared else codes + 6000, table, codes, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found == codes).all()
    assert peak < 100 << 20
