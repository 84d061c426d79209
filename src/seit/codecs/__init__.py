"""Lossless codes for grids of ids: `fit` a codec to ids, keep `Codec.to_bytes`, `load` it to read.

    zero-order   one table                               fastest
    context      tables chosen by (left, up) ids         the default for large grids
    learned      a small integer network                 smallest

`escape` is the paper's own code, for comparison and for the official release's files. Other packages bring codecs
by the entry point group `seit.codecs`.
"""

from __future__ import annotations

import importlib.util
import logging
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from seit.codecs import learned, tables, tables_fit
from seit.codecs.base import NAMED, Codec, check_ids, read_header
from seit.errors import CodecError, nearest_names

__all__ = ["Codec", "fit", "load"]

NAMES = ("auto", "zero-order", "context", "learned")
GROUP = "seit.codecs"
SMALL_GRID = 100
"""Cells up to which the learned code decodes fast enough to be chosen: tens of thousands of rows a second."""
LEARNED_SAVES, LEARNED_BYTES = 0.03, 53_000
"""What the learned code saves of the context code's payload at least, and what its tables take at about 512 ids."""

_logger = logging.getLogger(__name__)
_MODES: dict[int, type[Codec]] = {
    tables.TableCodec.mode: tables.TableCodec,
    learned.LearnedCodec.mode: learned.LearnedCodec,
}


def fit(name: str, ids: NDArray[np.integer], vocabulary: int, rows: int | None = None) -> Codec:
    """Fits a codec to ids.

    "auto" takes the code with the fewest bytes in all, payload, offsets and tables, for the `rows` that will be
    stored, among those that decode fast enough for the grid: zero order and context for every grid; the learned
    code, of which an id costs a dozen times as much, up to 100 cells, where it still decodes tens of thousands of
    rows a second in order. It is only fitted where so many rows will be stored that its tables can pay.

    Args:
        name: "zero-order", "context", "learned", "auto" (above), or a codec of another package.
        ids: integers [n, h, w] in 0..vocabulary-1, what shall be coded (or is like it); n may be 0.
        vocabulary: K, 2 to 2^18.
        rows: how many rows will be stored, if `ids` are a sample of them.

    Raises:
        CodecError: unknown name, or ids that do not fit the vocabulary.
    """
    ids = check_ids(ids, vocabulary)
    if name == "zero-order":
        return tables_fit.fit(ids, vocabulary, ())
    if name == "context":
        return tables_fit.fit(ids, vocabulary)
    if name == "auto":
        return _smallest(ids, vocabulary, len(ids) if rows is None else rows)
    if name == "learned":
        return _fit_learned(ids, vocabulary)
    return _brought(name).fit(ids, vocabulary)


def _smallest(ids: NDArray[np.integer], vocabulary: int, rows: int) -> Codec:
    """Returns the codec of the smallest total for `rows` rows like `ids`; see `fit`."""
    context = tables_fit.fit(ids, vocabulary)
    cells = ids.shape[1] * ids.shape[2]
    if not len(ids) or cells > SMALL_GRID or vocabulary > learned.MAX_VOCABULARY:
        return context
    sample = ids[:: max(1, len(ids) // 4096)]
    size = _total(context, sample, rows)
    if LEARNED_SAVES * size < LEARNED_BYTES * max(vocabulary, 128) / 512 - len(context.to_bytes()):
        return context
    if importlib.util.find_spec("torch") is None:
        _logger.warning(
            "the learned code, which may be smaller here, is fitted with torch: pip install 'seit[train]'"
        )
        return context
    network = _fit_learned(ids, vocabulary)
    return min(context, network, key=lambda codec: _total(codec, sample, rows))


def _total(codec: Codec, sample: NDArray[np.integer], rows: int) -> float:
    """Returns the bytes of payload, offsets and tables that `rows` rows like the sample take."""
    payload, offsets = codec.encode(sample)
    return (len(payload) + 4 * len(offsets)) * rows / max(len(sample), 1) + len(codec.to_bytes())


def _fit_learned(ids: NDArray[np.integer], vocabulary: int) -> Codec:
    if vocabulary > learned.MAX_VOCABULARY:
        raise CodecError(
            f"vocabulary {vocabulary}", "learned", f"it takes up to {learned.MAX_VOCABULARY} ids; use context"
        )
    from seit.codecs import learned_fit  # the only part of codecs that needs torch

    return learned_fit.fit(ids, vocabulary)


def _brought(name: str) -> type[Codec]:
    """Returns a codec that another package brings.

    Raises:
        CodecError: there is none of that name.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in entries:
        raise CodecError(f"no codec is called {name!r}", "codec", nearest_names(name, [*NAMES, *entries]))
    try:
        codec = entries[name].load()
    except Exception as error:  # another package's code may fail in any way
        raise CodecError(
            f"codec {name!r} does not load ({error})",
            entries[name].value,
            "mend or remove the package that brings it",
        ) from error
    if not (isinstance(codec, type) and issubclass(codec, Codec)):
        raise CodecError(f"codec {name!r} is no seit.codecs.Codec", entries[name].value, "mend its entry point")
    return codec


def load(data: bytes) -> Codec:
    """Rebuilds a codec from `Codec.to_bytes`; the bytes may be hostile.

    Raises:
        CodecError: they are no codec, or damaged, or of a package that is not installed.
    """
    header, rest = read_header(bytes(data))
    if header.mode == NAMED:
        return _brought(header.name).load(header, rest)
    if header.mode not in _MODES:
        raise CodecError(f"codec mode {header.mode} is unknown", "codec", "a newer seit wrote it, or it is damaged")
    return _MODES[header.mode].load(header, rest)
