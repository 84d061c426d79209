"""Lossless codes for grids of ids: `fit` a codec to ids, keep `Codec.to_bytes`, `load` it to read.

    zero-order   one table                               fastest
    context      tables chosen by (left, up) ids         the default
    learned      a small integer network                 smallest

`escape` is the paper's own code, for comparison and for the official release's files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seit.codecs import learned, tables, tables_fit
from seit.codecs.base import Codec, check_ids, read_header
from seit.errors import CodecError, nearest_names

__all__ = ["Codec", "fit", "load"]

NAMES = ("auto", "zero-order", "context", "learned")


def fit(name: str, ids: NDArray[np.integer], vocabulary: int, rows: int | None = None) -> Codec:
    """Fits a codec to ids.

    Args:
        name: "zero-order", "context", "learned", or "auto": zero order or context with as many tables as make the
            smallest total.
        ids: integers [n, h, w] in 0..vocabulary-1, what shall be coded (or is like it); n may be 0.
        vocabulary: K, 2 to 2^18.
        rows: how many rows will be stored, if `ids` are a sample of them.

    Raises:
        CodecError: unknown name, or ids that do not fit the vocabulary.
    """
    ids = check_ids(ids, vocabulary)
    if name == "zero-order":
        return tables_fit.fit(ids, vocabulary, ())
    if name in ("auto", "context"):
        return tables_fit.fit(ids, vocabulary)
    if name == "learned":
        if vocabulary > learned.MAX_VOCABULARY:
            raise CodecError(
                f"vocabulary {vocabulary}", "learned", f"it takes up to {learned.MAX_VOCABULARY} ids; use context"
            )
        from seit.codecs import learned_fit  # the only part of codecs that needs torch

        return learned_fit.fit(ids, vocabulary)
    raise CodecError(f"no codec is called {name!r}", "codec", nearest_names(name, NAMES))


def load(data: bytes) -> Codec:
    """Rebuilds a codec from `Codec.to_bytes`; the bytes may be hostile.

    Raises:
        CodecError: they are no codec, or damaged.
    """
    mode, vocabulary, grid, counts, rest = read_header(bytes(data))
    if mode == tables.TableCodec.mode:
        return tables.load(vocabulary, grid, counts, rest)
    if mode == learned.LearnedCodec.mode:
        return learned.load(vocabulary, grid, counts, rest)
    raise CodecError(f"codec mode {mode} is unknown", "codec", "a newer seit wrote it, or the file is damaged")
