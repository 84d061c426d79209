"""The paper's own code, as a reference and to exchange files with the official release; pure functions.

Ids are numbered by popularity. An id below the mark 2^M - 1 is one symbol; a larger one is as many marks as fit,
then the rest: with M = 8, 254 is [254], 255 is [255, 0], 509 is [255, 254] and 510 is [255, 255, 0]. The symbols
of all images stand one after another, Huffman coded by DEFLATE; an index says where each image starts.

Source: section 3.1, Eq. (1), Algorithms 1 and 2.
Differs: Eq. (1) writes the second symbol as i, Algorithm 1 as i - 2^M, and takes 2^M for the mark, which does
not fit M bits; Algorithm 2 compares with M. We follow the released code: the mark is 2^M - 1 and is subtracted.
Algorithm 1 appends an index entry per token; the release has one per image, with a leading 0. The paper says
larger ids follow "by repeating"; ours do, but the official reader does not add a second mark, so that its files
end at id 509.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import Array
from seit.errors import CodecError

OFFICIAL_VOCABULARY = 510
OFFICIAL_GRID = (32, 32)
_MAX_IMAGES = 1 << 24


def popularity(counts: Array) -> NDArray[np.int64]:
    """Ranks ids: rank[id] is 0 for the most frequent; ties go to the smaller id.

    Args:
        counts: [K], how often each id occurs.
    """
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-np.asarray(counts), kind="stable")] = np.arange(len(counts))
    return rank


def encode(ranks: Array, bits: int = 8) -> tuple[Array, NDArray[np.int64]]:
    """Codes ranked ids with escape marks (Algorithm 1).

    Args:
        ranks: integers [n, ...], one image a row, 0 or larger.
        bits: M, 2 to 16.

    Returns:
        (symbols [S], uint8 up to 8 bits and uint16 above; int64 [n + 1], where each image starts in them).

    Raises:
        CodecError: bits out of range, negative ids, or ids so large that their marks would fill memory.
    """
    mark, flat = _mark(bits), np.asarray(ranks).reshape(len(ranks), -1)
    if flat.dtype.kind not in "iu" or (flat.size and flat.min() < 0):
        raise CodecError(
            f"ids of {flat.dtype} from {flat.min() if flat.size else 0}", "escape", "pass ids from 0 up"
        )
    flat = flat.astype(np.int64)
    marks = flat // mark
    if marks.sum() > 64 * max(flat.size, 1 << 20):
        raise CodecError(
            "more than 64 marks an id", "escape", f"rank ids by popularity, or take more bits than {bits}"
        )
    ends = np.cumsum(marks + 1) - 1
    symbols = np.full(int(ends[-1]) + 1 if flat.size else 0, mark, np.uint8 if bits <= 8 else np.uint16)
    symbols[ends] = (flat % mark).reshape(-1)
    return symbols, np.concatenate([[0], np.cumsum((marks + 1).sum(1))]).astype(np.int64)


def decode(symbols: Array, index: Array, cells: int, rows: Array | None = None, bits: int = 8) -> NDArray[np.int64]:
    """Decodes images by their start indices (Algorithm 2).

    Args:
        symbols: [S] from `encode`.
        index: integers [n + 1].
        cells: ids an image.
        rows: image numbers [m]; None for all.
        bits: M.

    Returns:
        int64 [m, cells].

    Raises:
        CodecError: an index outside the symbols, an unfinished mark, or another number of ids; names the row.
    """
    mark, index = _mark(bits), np.asarray(index)
    symbols = np.asarray(symbols)
    rows = np.arange(len(index) - 1) if rows is None else np.asarray(rows, np.int64)
    out = np.empty((len(rows), cells), np.int64)
    for at, row in enumerate(rows):
        if not 0 <= row < len(index) - 1:
            raise CodecError(f"row {row} is not there", "escape", f"it has {max(len(index) - 1, 0)} rows")
        start, end = int(index[row]), int(index[row + 1])
        if not 0 <= start <= end <= len(symbols):
            raise CodecError(
                f"row {row} lies at {start}..{end} of {len(symbols)} symbols", "escape", "it is damaged"
            )
        part = symbols[start:end]
        ends = np.flatnonzero(part != mark)
        if len(ends) != cells or (end > start and part[-1] == mark):
            raise CodecError(f"row {row} holds {len(ends)} ids, expected {cells}", "escape", "it is damaged")
        out[at] = part[ends] + mark * (np.diff(ends, prepend=-1) - 1)
    return out


def huffman(data: bytes) -> bytes:
    """Huffman codes bytes: gzip of DEFLATE with `Z_HUFFMAN_ONLY`, which is what "Huffman by gzip" can mean."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31, 9, zlib.Z_HUFFMAN_ONLY)
    return stream.compress(data) + stream.flush()


def unhuffman(data: bytes, limit: int) -> bytes:
    """Undoes `huffman`, or any gzip, of at most `limit` bytes.

    Raises:
        CodecError: no gzip, cut short, or longer.
    """
    stream = zlib.decompressobj(31)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise CodecError(f"no gzip ({error})", "gzip", "the file is damaged") from error
    if len(plain) > limit or not stream.eof:
        raise CodecError(f"cut short, or longer than {limit} bytes", "gzip", "the file is damaged")
    return plain


def check_official(vocabulary: int, grid: tuple[int, int]) -> None:
    """Refuses what the official reader cannot represent.

    Raises:
        CodecError: more than 510 ids, or another grid than 32 x 32.
    """
    if vocabulary > OFFICIAL_VOCABULARY:
        raise CodecError(
            f"a vocabulary of {vocabulary}",
            "official format",
            "its reader takes the last of several marks alone, so ids end at 509: use a tokenizer or a subset "
            f"with up to {OFFICIAL_VOCABULARY} used codes",
        )
    if grid != OFFICIAL_GRID:
        raise CodecError(
            f"a grid of {grid[0]} x {grid[1]}", "official format", "its reader takes 32 x 32 ids an image only"
        )


def to_official(ids: Array) -> tuple[bytes, bytes]:
    """Writes the release's pair of files: `*-token.data.bin.gz` and `*-token.index.npy.gz`.

    Args:
        ids: integers [n, 32, 32] in 0..509, in the order of the codebook that goes with them.

    Returns:
        (data, index), both gzip.

    Raises:
        CodecError: see `check_official`.
    """
    check_official(int(ids.max()) + 1 if ids.size else 1, ids.shape[1:])
    symbols, index = encode(ids)
    file = io.BytesIO()
    np.save(file, index, allow_pickle=False)
    return huffman(symbols.tobytes()), huffman(file.getvalue())


def from_official(data: bytes, index: bytes) -> NDArray[np.int64]:
    """Reads the release's pair of files, which may be hostile.

    Args:
        data, index: the files' bytes.

    Returns:
        int64 [n, 32, 32].

    Raises:
        CodecError: damaged, or ids that the official reader would take for others.
    """
    cells = OFFICIAL_GRID[0] * OFFICIAL_GRID[1]
    starts = _npy(unhuffman(index, 8 * (_MAX_IMAGES + 1) + 4096))
    if len(starts) < 1 or starts[-1] < 0 or starts[-1] > 2 * cells * (len(starts) - 1):
        raise CodecError("the index does not end at the data's length", "official index", "the file is damaged")
    symbols = np.frombuffer(unhuffman(data, int(starts[-1])), np.uint8)
    ids = decode(symbols, starts, cells)
    if ids.size and ids.max() >= OFFICIAL_VOCABULARY:
        row = int(np.argmax(ids.max(1)))
        raise CodecError(f"row {row} has two marks in a row", "official data", "no official writer makes them")
    return ids.reshape(-1, *OFFICIAL_GRID)


def _npy(data: bytes) -> NDArray[np.integer]:
    """Reads a one-dimensional integer .npy whose header must agree with its length before anything is made."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if len(shape) == 1 and dtype.kind in "iu" and shape[0] * dtype.itemsize == len(data) - file.tell():
            return np.frombuffer(data, dtype, offset=file.tell())
    except ValueError:
        pass
    raise CodecError("not a one-dimensional .npy of integers", "official index", "the file is damaged")


def _mark(bits: int) -> int:
    if not 2 <= bits <= 16:
        raise CodecError(f"{bits} bits", "escape", "M is 2 to 16")
    return (1 << bits) - 1
