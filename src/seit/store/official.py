"""The official SeiT release's files, in both directions: `<set>-token.data.bin.gz` with index and labels.

The bytes are `seit.codecs.escape`'s; here they are streamed, named, and joined by labels, codebook and synonyms.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seit import files
from seit.codecs import escape
from seit.errors import StoreError
from seit.progress import progress
from seit.store.about import About
from seit.store.chunks import Chunk, reading, write_chunks
from seit.store.row_sequence import hashed
from seit.store.token_rows import TokenRows

_CHUNK = 4096
_MAX_IMAGES = 1 << 26


def import_official(
    sets: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    classes: list[str],
    vocabulary: int,
    codebook: np.ndarray | None = None,
    codec: str = "auto",
    command: str = "",
) -> Path:
    """Makes a token data set from the official release's files.

    Args:
        sets: split -> its `<set>-token.data.bin.gz`; index and labels are looked for beside it.
        out: the folder to make.
        classes: class names in label order.
        vocabulary: codes of the release; its codebook has as many rows.
        codebook: float32 [vocabulary, d]: the release's codebook.ckpt, loaded.
        codec: which codec to fit.
        command: how to repeat this, recorded.

    Returns:
        OUT.

    Raises:
        StoreError: a file is absent or damaged.
    """
    paths = {split: Path(path) for split, path in sets.items()}
    for path in paths.values():
        if not path.is_file() or "data.bin" not in path.name:
            raise StoreError("is not a <set>-token.data.bin.gz", str(path), "name that file")
    identity = hashed("official SeiT release", b"" if codebook is None else codebook.tobytes(), str(vocabulary))
    about = About(
        tokenizer={"name": "seit-official", "identity": identity, "provenance": {}, "preprocessing": {"size": 256}},
        grid=escape.OFFICIAL_GRID,
        full_vocabulary=vocabulary,
        used_codes=np.arange(vocabulary, dtype=np.int32),
        classes=classes,
        source={"name": "official SeiT release", "split_rule": "as released", "terms": "see its repository"},
        codebook=codebook,
    )

    def chunks() -> Iterator[Chunk]:
        for split, path in paths.items():
            with reading(path, "fetch it again"):
                yield from _rows(split, path)

    return write_chunks(out, about, chunks, codec, command)


def _rows(split: str, path: Path) -> Iterator[Chunk]:
    """Reads one set."""
    starts, labels = _index(path), _labels(path)
    if len(labels) != len(starts) - 1:
        raise StoreError(f"{len(labels)} labels for {len(starts) - 1} images", str(path), "fetch it again")
    with gzip.open(path) as data:
        for first in range(0, len(labels), _CHUNK):
            ids = _next(data, starts[first : first + _CHUNK + 1], path)
            yield Chunk(split, ids, labels[first : first + len(ids)], None, str(path))
        if data.read(1):
            raise StoreError("goes on after the last image of its index", str(path), "fetch both again")


def export_official(
    rows: TokenRows, folder: str | os.PathLike[str], name: str, ranked_by: TokenRows | None = None
) -> list[Path]:
    """Writes rows as files that the official release's code reads.

    Beside the tokens: `codebook.npy` [K, d] in the order of the ids (`seit convert` makes the codebook.ckpt of it
    that their code reads) and `synonyms.json`, each code's five nearest.

    Args:
        rows: 32 x 32 ids of at most 510 codes, one class a row.
        folder: where the files go.
        name: of the set, "imagenet1k-train" or "imagenet1k-val" in the release.
        ranked_by: number the codes by how often they occur in these rows, most frequent first (Algorithm 1); the
            training rows, for every set of a release. None keeps the tokenizer's own numbers.

    Returns:
        The files written.

    Raises:
        StoreError: grid, vocabulary or labels are not what that format holds.
    """
    _fits(rows, name, ranked_by is not None)
    number = rows.used_codes if ranked_by is None else _ranks(ranked_by)  # [K]: the written id of each stored id
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data, index = folder / f"{name}-token.data.bin.gz", folder / f"{name}-token.index.npy.gz"
    lengths = []
    with (
        files.atomic(data) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream,
        progress(len(rows), "export", "images") as bar,
    ):
        for first in range(0, len(rows), _CHUNK):
            ids = number[rows.ids(np.arange(first, min(first + _CHUNK, len(rows))))]
            symbols, starts = escape.encode(ids)
            stream.write(symbols.tobytes())
            lengths.append(np.diff(starts))
            bar.update(len(ids))
    npy = io.BytesIO()
    np.save(npy, np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64))
    files.write_bytes(index, gzip.compress(npy.getvalue(), mtime=0))
    written = [data, index, folder / f"{name}-label.txt"]
    files.write_bytes(written[2], "".join(f"{label}\n" for label in rows.labels.tolist()).encode())  # type: ignore[union-attr]
    if rows.codebook is not None:
        codebook = np.zeros((int(number.max()) + 1, rows.codebook.shape[1]), np.float32)
        codebook[number] = rows.codebook
        vectors = io.BytesIO()
        np.save(vectors, codebook)
        files.write_bytes(folder / "codebook.npy", vectors.getvalue())
        files.write_json(folder / "synonyms.json", synonyms(codebook))
        written += [folder / "codebook.npy", folder / "synonyms.json"]
    return written


def synonyms(codebook: np.ndarray, count: int = 5) -> dict[str, list[int]]:
    """Returns each code's `count` nearest others by Euclidean distance (paper, section 3.2)."""
    squares = (codebook.astype(np.float64) ** 2).sum(1)
    distance = squares[:, None] + squares - 2 * codebook.astype(np.float64) @ codebook.T.astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, 1, kind="stable")[:, :count]
    return {str(code): near.tolist() for code, near in enumerate(nearest)}


def _fits(rows: TokenRows, name: str, ranked: bool) -> None:
    escape.check_official(rows.vocabulary if ranked else int(rows.used_codes.max(initial=0)) + 1, rows.grid)
    labels = rows.labels
    if labels is None or rows.label_kind != "class" or (len(labels) and labels.min() < 0):
        raise StoreError("not every row has one class", name, "the official reader wants one label a row")


def _ranks(rows: TokenRows) -> np.ndarray:
    """Returns each stored id's place in the order of popularity, int64 [K]; the most frequent id is 0."""
    counts = np.zeros(rows.vocabulary, np.int64)
    for first in range(0, len(rows), _CHUNK):
        ids = rows.ids(np.arange(first, min(first + _CHUNK, len(rows))))
        counts += np.bincount(ids.reshape(-1), minlength=len(counts))
    return escape.popularity(counts)


def _index(path: Path) -> np.ndarray:
    """Reads the byte offsets beside a data file, int64 [n + 1]."""
    index = path.with_name(path.name.replace("data.bin", "index.npy"))
    with reading(index, "fetch it again"):
        with gzip.open(index) as source:
            starts = np.load(io.BytesIO(source.read(8 * _MAX_IMAGES)), allow_pickle=False)
        lengths = np.diff(starts.astype(np.int64))
        good = starts.ndim == 1 and np.issubdtype(starts.dtype, np.integer) and starts[0] == 0
        if not good or not 0 <= lengths.min(initial=0) <= lengths.max(initial=0) <= 4096:
            raise StoreError("is not a list of growing offsets", str(index), "fetch it again")
    return starts.astype(np.int64)


def _labels(path: Path) -> np.ndarray:
    labels = path.with_name(path.name.partition("-token.data")[0] + "-label.txt")
    with reading(labels, "fetch it again: one integer a line"):
        return np.array([int(label) for label in labels.read_bytes().split()], np.int64)


def _next(data: gzip.GzipFile, starts: np.ndarray, path: Path) -> np.ndarray:
    """Reads the next images of a stream: ids [n, 32, 32]."""
    size = int(starts[-1] - starts[0])
    symbols = np.frombuffer(data.read(size), np.uint8)
    if len(symbols) != size:
        raise StoreError("ends before its index says", str(path), "fetch it again")
    ids = escape.decode(symbols, starts - starts[0], escape.OFFICIAL_GRID[0] * escape.OFFICIAL_GRID[1])
    if ids.max(initial=0) >= escape.OFFICIAL_VOCABULARY:
        raise StoreError(
            "holds two marks in a row, which its own reader takes for another id", str(path), "fetch it again"
        )
    return ids.reshape(-1, *escape.OFFICIAL_GRID)
