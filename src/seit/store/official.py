"""The official SeiT release's files, in both directions: `<set>-token.data.bin.gz` with index and labels.

An id below 255 is one byte; 255 and above are the byte 255 and id - 255. So reads the release's own reader, which
differs from the paper: Eq. 1 writes [255, i], Algorithm 1's threshold is 2^8, and ids beyond 509 are said to follow
by repeating the step, but that reader forgets an escape when another follows. Hence at most 510 codes here.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seit import files
from seit.errors import StoreError
from seit.progress import progress
from seit.store.rows import RowTable
from seit.store.token_rows import TokenRows, hashed
from seit.store.writer import TokenWriter

GRID = (32, 32)
MAX_CODES = 510
_MARK = 255
_CHUNK = 4096
_MAX_IMAGES = 1 << 26


def to_bytes(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes ids [n, 1024] below 510; returns the bytes uint8 and each image's length int64 [n]."""
    escaped = ids >= _MARK
    lengths = ids.shape[1] + escaped.sum(1)
    pairs = np.stack([np.full_like(ids, _MARK), np.where(escaped, ids - _MARK, ids)], -1).astype(np.uint8)
    kept = np.stack([escaped, np.ones_like(escaped)], -1)
    return pairs[kept], lengths.astype(np.int64)


def from_bytes(data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Decodes images as the official reader does, quirks included.

    Args:
        data: uint8 of n images.
        starts: int64 [n + 1] byte positions within it.

    Returns:
        ids uint16 [n, 1024].

    Raises:
        StoreError: an image does not hold 1024 ids.
    """
    plain = data != _MARK
    escaped = np.zeros(len(data), bool)
    escaped[1:] = ~plain[:-1]
    escaped[starts[:-1][starts[:-1] < len(data)]] = False  # an escape does not reach into the next image
    emitted = np.concatenate([[0], np.cumsum(plain)])
    counts = np.diff(emitted[starts])
    wrong = np.flatnonzero(counts != GRID[0] * GRID[1])
    if len(wrong):
        raise StoreError(
            f"image {wrong[0]} holds {counts[wrong[0]]} ids instead of 1024", "official data", "fetch it again"
        )
    ids = (data.astype(np.uint16) + np.uint16(_MARK) * escaped)[plain]
    return ids.reshape(len(counts), GRID[0] * GRID[1])


def import_official(
    sets: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    classes: list[str],
    vocabulary: int = 391,
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
        _must_exist(path)
    stamps = [
        f"{split} {path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for split, path in paths.items()
    ]
    identity = hashed("official SeiT release", b"" if codebook is None else codebook.tobytes(), str(vocabulary))
    writer = TokenWriter(
        out,
        tokenizer={"name": "seit-official", "identity": identity, "provenance": {}, "preprocessing": {"size": 256}},
        codebook=codebook,
        grid=GRID,
        classes=classes,
        source={"name": "official SeiT release", "split_rule": "as released", "terms": "see its repository"},
        plan=hashed("official", codec, identity, *stamps),
        codec=codec,
        command=command,
        vocabulary=vocabulary,
    )
    number = 0
    for split, path in paths.items():
        starts, labels = _index(path), _labels(path)
        if len(labels) != len(starts) - 1:
            raise StoreError(f"{len(labels)} labels for {len(starts) - 1} images", str(path), "fetch it again")
        with progress(len(labels), "import", "images") as bar, gzip.open(path) as data:
            for first in range(0, len(labels), _CHUNK):
                ids = _next(data, starts[first : first + _CHUNK + 1], path)
                rows = RowTable.named([f"{split}/{first + i:08d}" for i in range(len(ids))])
                writer.write(number, split, ids, labels[first : first + len(ids)], rows)
                number += 1
                bar.update(len(ids))
    return writer.commit()


def export_official(rows: TokenRows, folder: str | os.PathLike[str], name: str, ranked: bool = True) -> list[Path]:
    """Writes rows as files that the official release's code reads.

    Beside the tokens: `codebook.npy` in the order of the ids (their code wants it as codebook.ckpt:
    `torch.save(torch.from_numpy(numpy.load("codebook.npy")), "codebook.ckpt")`) and `synonyms.json`, each code's
    five nearest.

    Args:
        rows: 32 x 32 ids of at most 510 codes, one class a row.
        folder: where the files go.
        name: of the set, "imagenet1k-train" or "imagenet1k-val" in the release.
        ranked: number the codes by how often they occur in these rows, most frequent first (Algorithm 1);
            otherwise keep the tokenizer's own numbers.

    Returns:
        The files written.

    Raises:
        StoreError: grid, vocabulary or labels are not what that format holds.
    """
    _fits(rows, name, ranked)
    number = _ranks(rows) if ranked else rows.used_codes  # [K]: the written id of each stored id
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
            coded, sizes = to_bytes(ids.reshape(len(ids), -1))
            stream.write(coded.tobytes())
            lengths.append(sizes)
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
    if rows.grid != GRID:
        raise StoreError(f"its grid is {rows.grid}", name, "the official reader takes 32 x 32 ids and nothing else")
    codes = rows.vocabulary if ranked else int(rows.used_codes.max(initial=0)) + 1
    if codes > MAX_CODES:
        raise StoreError(
            f"it needs {codes} codes",
            name,
            "the official reader forgets an escape when another follows, so ids end at 509: use 510 codes or fewer",
        )
    labels = rows.labels
    if labels is None or rows.label_kind != "class" or (len(labels) and labels.min() < 0):
        raise StoreError("not every row has one class", name, "the official reader wants one label a row")


def _ranks(rows: TokenRows) -> np.ndarray:
    """Returns each stored id's place in the order of popularity, int64 [K]; the most frequent id is 0."""
    counts = np.zeros(rows.vocabulary, np.int64)
    for first in range(0, len(rows), _CHUNK):
        ids = rows.ids(np.arange(first, min(first + _CHUNK, len(rows))))
        counts += np.bincount(ids.reshape(-1), minlength=len(counts))
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return ranks


def _must_exist(path: Path) -> None:
    if not path.is_file() or "data.bin" not in path.name:
        raise StoreError("is no <set>-token.data.bin.gz", str(path), "name that file")


def _index(path: Path) -> np.ndarray:
    """Reads the byte offsets beside a data file, int64 [n + 1]."""
    index = path.with_name(path.name.replace("data.bin", "index.npy"))
    try:
        with gzip.open(index) as source:
            starts = np.load(io.BytesIO(source.read(8 * _MAX_IMAGES)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"cannot be read ({str(error)[:80]})", str(index), "fetch it again") from None
    good = starts.ndim == 1 and len(starts) and np.issubdtype(starts.dtype, np.integer) and starts[0] == 0
    if (
        not good
        or (np.diff(starts.astype(np.int64)) < 0).any()
        or np.diff(starts.astype(np.int64)).max(initial=0) > 4096
    ):
        raise StoreError("is no list of growing offsets", str(index), "fetch it again")
    return starts.astype(np.int64)


def _labels(path: Path) -> np.ndarray:
    labels = path.with_name(path.name.partition("-token.data")[0] + "-label.txt")
    try:
        return np.array([int(line) for line in labels.read_text().splitlines()], np.int64)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot be read ({str(error)[:80]})", str(labels), "one integer a line") from None


def _next(data: gzip.GzipFile, starts: np.ndarray, path: Path) -> np.ndarray:
    """Reads the next images of a stream: ids [n, 32, 32]."""
    size = int(starts[-1] - starts[0])
    try:
        found = np.frombuffer(data.read(size), np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"cannot be read ({str(error)[:80]})", str(path), "fetch it again") from None
    if len(found) != size:
        raise StoreError("ends before its index says", str(path), "fetch it again")
    return from_bytes(found, starts - starts[0]).reshape(-1, *GRID)
