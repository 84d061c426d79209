"""Token data sets from other libraries' files: arrays, Parquet tables and WebDataset tars of ids.

What `seit.store.exports` and `seit.store.npy` wrote comes back with its tokenizer, codes and classes from the
`seit.json` beside it. Without one, ids are taken as the tokenizer's own numbers and labels as class numbers.
"""

from __future__ import annotations

import io
import math
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seit.errors import StoreError
from seit.progress import progress
from seit.store.about import About
from seit.store.entries import MAX_CELLS, MAX_VOCABULARY
from seit.store.npy import read_names
from seit.store.rows import RowTable
from seit.store.token_rows import hashed
from seit.store.writer import TokenWriter

_ROWS = 4096


@dataclass(frozen=True)
class Chunk:
    """Some rows of one split: ids [n, h, w] (or flat [n, h * w]), labels and source names where they are known."""

    split: str
    ids: np.ndarray
    labels: np.ndarray | None
    names: list[str] | None


def import_folder(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], codec: str = "auto", command: str = ""
) -> Path:
    """Makes a token data set from a folder of arrays, Parquet files or tars.

    Args:
        folder: holds `<split>/ids.npy`, `<split>*.parquet` with a column `ids`, or `<split>*.tar` with `<key>.npy`.
        out: the folder to make.
        codec: which codec to fit.
        command: how to repeat this, recorded.

    Returns:
        OUT.

    Raises:
        StoreError: it holds none of these, or rows that do not fit each other.
    """
    folder = Path(folder)
    files, read = _found(folder)
    about = About.read(folder) or _guessed(files, read, folder)
    stamps = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    writer = TokenWriter(
        out,
        tokenizer=about.tokenizer,
        codebook=about.full_codebook(),
        grid=about.grid,
        classes=about.classes,
        source=about.source,
        plan=hashed("import", codec, str(about.tokenizer.get("identity")), *stamps),
        codec=codec,
        command=command,
        vocabulary=about.full_vocabulary,
        views=about.views,
    )
    counts: dict[str, int] = {}
    with progress(0, "import", "rows") as bar:
        for number, chunk in enumerate(_chunks(files, read)):
            first = counts.get(chunk.split, 0)
            counts[chunk.split] = first + len(chunk.ids)
            if number not in writer.finished:
                names = chunk.names or [f"{chunk.split}/{first + i:08d}" for i in range(len(chunk.ids))]
                ids = about.tokenizer_ids(chunk.ids, f"{chunk.split} from row {first}")
                writer.write(number, chunk.split, ids, chunk.labels, RowTable.named(names))
            bar.total += len(chunk.ids)
            bar.update(len(chunk.ids))
    return writer.commit()


Reader = Callable[[Path], Iterator[Chunk]]


def _found(folder: Path) -> tuple[list[Path], Reader]:
    """Returns the files of the first kind that the folder holds, and what reads one."""
    for pattern, read in (("*/ids.npy", _arrays), ("*.parquet", _parquet), ("*.tar", _tar)):
        files = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if files:
            return files, read
    raise StoreError(
        "is not a token data set, and holds neither SPLIT/ids.npy nor SPLIT*.parquet nor SPLIT*.tar",
        str(folder),
        "make one of images: seit tokenize",
    )


def _chunks(files: list[Path], read: Reader) -> Iterator[Chunk]:
    """Reads all files; whatever is wrong with one of them is said with its name."""
    for path in files:
        try:
            yield from read(path)
        except (OSError, ValueError, KeyError, EOFError, pa.ArrowException, tarfile.TarError) as error:
            raise StoreError(f"cannot be read ({str(error)[:120]})", str(path), "write or fetch it again") from None


def _arrays(path: Path) -> Iterator[Chunk]:
    ids = np.load(path, mmap_mode="r", allow_pickle=False)
    folder, labels, names = path.parent, None, None
    if (folder / "labels.npy").exists():
        labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
    if (folder / "names.txt").exists():
        names = read_names(folder / "names.txt")
    if any(len(column) != len(ids) for column in (labels, names) if column is not None):
        raise ValueError(f"labels.npy or names.txt beside it do not have its {len(ids)} rows")
    for first in range(0, len(ids), _ROWS):
        part = slice(first, min(first + _ROWS, len(ids)))
        yield Chunk(
            folder.name,
            np.asarray(ids[part]),
            None if labels is None else np.asarray(labels[part]),
            names and names[part],
        )


def _parquet(path: Path) -> Iterator[Chunk]:
    file = pq.ParquetFile(path)
    has = set(file.schema_arrow.names)
    columns = ["ids", *(name for name in ("label", "name") if name in has)]
    for batch in file.iter_batches(_ROWS, columns=columns):
        column = batch.column("ids")
        flat = column.flatten().to_numpy(zero_copy_only=False)
        if column.null_count or len(flat) % max(len(column), 1):
            raise ValueError("its rows of ids differ in length")
        labels = batch.column("label").to_numpy(zero_copy_only=False) if "label" in has else None
        names = batch.column("name").to_pylist() if "name" in has else None
        yield Chunk(_split(path), flat.reshape(len(column), -1), labels, names)


def _tar(path: Path) -> Iterator[Chunk]:
    rows: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, kind = member.name.rpartition(".")  # keys may hold dots, kinds do not
            if not member.isfile() or kind not in ("npy", "cls", "txt"):
                continue
            if member.size > 8 * MAX_CELLS + 4096:
                raise ValueError(f"{member.name} is larger than any grid of ids")
            if key not in rows and len(rows) == _ROWS:  # the members of a row stand together
                yield _of_tar(path, rows)
                rows = {}
            rows.setdefault(key, {})[kind] = tar.extractfile(member).read()  # type: ignore[union-attr]
    if rows:
        yield _of_tar(path, rows)


def _of_tar(path: Path, rows: dict[str, dict[str, bytes]]) -> Chunk:
    ids = np.stack([np.load(io.BytesIO(row["npy"]), allow_pickle=False) for row in rows.values()])
    labelled = all("cls" in row for row in rows.values())
    labels = np.array([int(row["cls"]) for row in rows.values()], np.int64) if labelled else None
    names = [row["txt"].decode() if "txt" in row else key for key, row in rows.items()]
    return Chunk(_split(path), ids, labels, names)


def _split(path: Path) -> str:
    """Returns the split of `train.parquet`, `train-00000.tar` or `train-00000-of-00002.parquet`."""
    return path.name.partition(".")[0].partition("-")[0]


def _guessed(files: list[Path], read: Reader, folder: Path) -> About:
    """Describes ids of an unknown tokenizer, from reading them all once."""
    shape: tuple[int, ...] = ()
    top, labels, columns = 0, -1, 0
    for chunk in _chunks(files, read):
        shape = chunk.ids.shape[1:]
        top = max(top, int(chunk.ids.max(initial=0)))
        if chunk.labels is not None:
            labels = max(labels, int(chunk.labels.max(initial=-1)))
            columns = chunk.labels.shape[1] if chunk.labels.ndim == 2 else 0
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        if side * side != shape[0]:
            raise StoreError(f"rows of {shape[0]} ids are no square grid", str(folder), "give ids [h, w]")
        shape = (side, side)
    if len(shape) != 2 or top >= MAX_VOCABULARY:
        raise StoreError(f"ids are {list(shape)} a row, up to {top}", str(folder), "give ids [h, w] below 2^18")
    return About(
        tokenizer={"name": "unknown", "identity": hashed("unknown", folder.name, str(top))},
        grid=(shape[0], shape[1]),
        full_vocabulary=top + 1,
        used_codes=np.arange(top + 1, dtype=np.int32),
        classes=[str(i) for i in range(columns or labels + 1)],
        source={"name": folder.name, "split_rule": "as given", "terms": ""},
        views=1,
        codebook=None,
    )
