"""Token data sets from other libraries' files: arrays, Parquet tables and WebDataset tars of ids.

What `seit.store.exports` and `seit.store.npy` wrote comes back with its tokenizer, codes and classes from the
`seit.json` beside it. Without one, ids are taken as the tokenizer's own numbers, and labels that are texts as class
names, others as class numbers.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seit.errors import StoreError
from seit.store.about import About
from seit.store.chunks import CELLS, Chunk, Survey, reading, write_chunks
from seit.store.entries import MAX_CELLS, MAX_VOCABULARY
from seit.store.row_sequence import hashed

_ROWS = 1024
_NUMBERED = re.compile(r"(?:(.+?)[-_])?\d+(?:-of-\d+)?")  # train-00000, train-00000-of-00002, 00000


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
        StoreError: it holds none of these, or several, or rows that do not fit each other.
    """
    folder = Path(folder)
    paths, read = _sources(folder)

    def chunks() -> Iterator[Chunk]:
        for path in paths:
            with reading(path):
                yield from read(path)

    about = About.read(folder) or partial(_guessed, folder, _declared_classes(paths))
    return write_chunks(out, about, chunks, codec, command)


def _sources(folder: Path) -> tuple[list[Path], Callable[[Path], Iterator[Chunk]]]:
    """Returns the files to read, and what reads one."""
    readers = {"*/ids.npy": _arrays, "*.parquet": _parquet, "*.tar": _tar}
    kinds = {pattern: sorted(folder.glob(pattern)) for pattern in readers if folder.is_dir()}
    present = [pattern for pattern, paths in kinds.items() if paths]
    if not present:
        raise StoreError(
            "is not a token data set, and holds neither SPLIT/ids.npy nor SPLIT*.parquet nor SPLIT*.tar",
            str(folder),
            "make one of images: seit tokenize",
        )
    if len(present) > 1:
        raise StoreError(f"holds {' and '.join(present)}", str(folder), "keep one kind of files in a folder")
    for beside in ("labels.npy", "names.txt"):
        for path in folder.glob(f"*/{beside}"):
            if not (path.parent / "ids.npy").exists():
                raise StoreError("has no ids.npy beside it", str(path), "put it there, or move the folder away")
    return kinds[present[0]], readers[present[0]]


def _arrays(path: Path) -> Iterator[Chunk]:
    ids = np.load(path, mmap_mode="r", allow_pickle=False)
    folder, labels, names = path.parent, None, None
    if (folder / "labels.npy").exists():
        with reading(folder / "labels.npy"):
            labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
    if (folder / "names.txt").exists():
        with reading(folder / "names.txt", "write it in UTF-8, one name a line"):
            names = (folder / "names.txt").read_bytes().decode().removesuffix("\n").split("\n") if len(ids) else []
    for file, rows in (("labels.npy", labels), ("names.txt", names)):
        if rows is not None and len(rows) != len(ids):
            raise StoreError(f"has {len(rows)} rows, ids.npy {len(ids)}", str(folder / file), "give one a row")
    step = max(1, CELLS // max(1, math.prod(ids.shape[1:])))
    for first in range(0, len(ids), step):
        part = slice(first, first + step)
        yield Chunk(
            folder.name,
            np.asarray(ids[part]),
            None if labels is None else np.asarray(labels[part]),
            names and names[part],
            str(path),
        )


def _parquet(path: Path) -> Iterator[Chunk]:
    file = pq.ParquetFile(path)
    has = file.schema_arrow.names
    if "ids" not in has:
        raise StoreError(f"has no column ids, but {', '.join(has)[:120]}", str(path), "name it so")
    columns = ["ids", *(name for name in ("label", "name") if name in has)]
    for batch in file.iter_batches(_ROWS, columns=columns):
        labels = batch.column("label") if "label" in has else None
        if labels is not None and not (pa.types.is_primitive(labels.type) or pa.types.is_string(labels.type)):
            labels = labels.cast(pa.string())  # dictionaries, large strings; lists cannot be
        names = batch.column("name").to_pylist() if "name" in has else None
        if names is not None and not all(isinstance(name, str) for name in names):
            raise StoreError("has rows without a name", str(path), "name every row, or leave the column out")
        plain = None if labels is None else labels.to_numpy(zero_copy_only=False)
        yield Chunk(_split(path), _grids(batch.column("ids"), path), plain, names, str(path))


def _grids(column: pa.Array, path: Path) -> np.ndarray:
    """Returns a column of lists, or of lists of lists, as an array."""
    shape = [len(column)]
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or _is_fixed(column.type):
        lengths = pc.unique(pc.list_value_length(column)).to_pylist() or [0]
        if column.null_count or len(lengths) > 1:
            raise StoreError("rows of ids are missing or differ in length", str(path), "give one grid of ids a row")
        shape.append(lengths[0])
        column = column.flatten()
    if column.null_count:
        raise StoreError("some ids are missing", str(path), "give integers")
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def _is_fixed(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind)


def _declared_classes(paths: list[Path]) -> list[str] | None:
    """Returns the class names that `datasets` wrote into Parquet files, if all of them have the same."""
    declared = []
    for path in paths if paths[0].suffix == ".parquet" else ():
        with reading(path):
            about = json.loads((pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}"))
            label = about.get("info", {}).get("features", {}).get("label", {})
            declared.append(label.get("names") if label.get("_type") == "ClassLabel" else None)
    if any(names != declared[0] for names in declared):
        raise StoreError(
            "its Parquet files name other classes than one another", str(paths[0].parent), "use one list"
        )
    return declared[0] if declared else None


def _tar(path: Path) -> Iterator[Chunk]:
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile()]
        key_of = _keys([member.name for member in members], path)
        rows: dict[str, dict[str, bytes]] = {}
        for member in members:
            key, kind = key_of(member.name)
            if kind not in ("npy", "cls", "txt"):
                continue
            if member.size > 8 * MAX_CELLS + 4096:
                raise StoreError(f"{member.name} is larger than any grid of ids", str(path), "is it one?")
            if key not in rows and len(rows) == _ROWS:  # the members of a row stand together
                yield _rows_of(path, rows)
                rows = {}
            if kind in rows.setdefault(key, {}):
                raise StoreError(f"holds two members {member.name}", str(path), "name each row's members once")
            rows[key][kind] = tar.extractfile(member).read()  # type: ignore[union-attr]
    if rows:
        yield _rows_of(path, rows)


def _keys(names: list[str], path: Path) -> Callable[[str], tuple[str, str]]:
    """Returns what splits a member's name into key and kind.

    As WebDataset does, at the first dot behind the last slash; but at the last dot where that would give two arrays
    one key, as in `IMG.0001.npy`, `IMG.0002.npy`.
    """

    def first_dot(name: str) -> tuple[str, str]:
        folder, slash, base = name.rpartition("/")
        key, _, kind = base.partition(".")
        return folder + slash + key, kind.rpartition(".")[2]

    def last_dot(name: str) -> tuple[str, str]:
        key, _, kind = name.rpartition(".")
        return key, kind

    arrays = [name for name in names if name.endswith(".npy")]
    split = first_dot if len({first_dot(name) for name in arrays}) == len(arrays) else last_dot
    keys = {split(name)[0] for name in arrays}
    for name in names:
        if name.endswith((".cls", ".txt")) and split(name)[0] not in keys:
            raise StoreError(f"{name} has no .npy beside it", str(path), "give each row one .npy of its name")
    return split


def _rows_of(path: Path, rows: dict[str, dict[str, bytes]]) -> Chunk:
    ids = np.stack([np.load(io.BytesIO(row["npy"]), allow_pickle=False) for row in rows.values()])
    labels = None
    if any("cls" in row for row in rows.values()):
        texts = [row.get("cls", b"").decode().strip() for row in rows.values()]
        try:
            labels = np.array([int(text) if text else -1 for text in texts], np.int64)
        except ValueError:
            labels = np.array(texts, object)
    names = [row["txt"].decode() if "txt" in row else key for key, row in rows.items()]
    return Chunk(_split(path), ids, labels, names, str(path))


def _split(path: Path) -> str:
    """Returns the split that a name begins with; "train" of a mere number, as in `00000.tar`."""
    numbered = _NUMBERED.fullmatch(path.stem)
    return (numbered[1] or "train") if numbered else path.stem


def _guessed(folder: Path, classes: list[str] | None, survey: Survey) -> About:
    """Describes ids of an unknown tokenizer."""
    shape = survey.shape
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        if side * side != shape[0]:
            raise StoreError(f"rows of {shape[0]} ids are no square grid", str(folder), "give ids [h, w]")
        shape = (side, side)
    if len(shape) != 2 or not 0 < math.prod(shape) <= MAX_CELLS or survey.top >= MAX_VOCABULARY:
        what = f"ids are {list(shape)} a row, up to {survey.top}"
        raise StoreError(what, str(folder), "give ids [h, w] below 2^18")
    codes = max(survey.top, 0) + 1
    return About(
        tokenizer={"name": "unknown", "identity": hashed("unknown", folder.name, str(survey.top))},
        grid=(shape[0], shape[1]),
        full_vocabulary=codes,
        used_codes=np.arange(codes, dtype=np.int32),
        classes=survey.classes() if classes is None else classes,
        source={"name": folder.name, "split_rule": "as given", "terms": ""},
    )
