"""Parquet files and folders of Hugging Face `datasets`: image bytes in a column, class names in the schema."""

from __future__ import annotations

import functools
import json
import os
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seit.errors import ImageError, nearest_names
from seit.images.listed import Listed, split_of
from seit.images.places import Place, is_remote, joined, opened
from seit.images.splits import TRAIN_FOLDERS, VAL_FOLDERS

ENDINGS = (".parquet", ".arrow")
_LABELS = ("label", "labels", "class", "fine_label", "cls")
_lock = threading.Lock()  # a Parquet file's reader is one thread's


def list_tables(
    root: str, files: list[str], image_column: str | None = None, label_column: str | None = None
) -> Listed:
    """Lists the rows of tables; of their columns only the labels are read.

    The image column holds bytes, or `datasets`' {bytes, path}; label names are those of the schema's ClassLabel
    feature where there is one. A file's name or folder says its split (`train-00000-of-00002.parquet`).

    Args:
        root: the folder that names are relative to.
        files: tables below it.
        image_column, label_column: their names, where they are not the first column of images and `label`.

    Raises:
        ImageError: a file cannot be read, or has no such column.
    """
    listed = Listed()
    for name in files:
        path = joined(root, name)
        try:
            with _Table(path) as table:
                image = _image_column(table.schema, image_column, path)
                label = _label_column(table.schema, label_column, path)
                names = _class_names(table.schema, label)
                labels = table.column(label).to_pylist() if label else [None] * table.rows
        except (OSError, pa.ArrowException) as error:
            raise ImageError(f"cannot be read ({str(error)[:120]})", path, "write the table again") from error
        split = split_of(name)
        for row, value in enumerate(labels):
            listed.add(f"{name}/{row:06d}", Place("row", path, image, row), _label(value, names, path), split)
    return listed


def tables_below(root: str) -> list[str]:
    """Returns the tables of a local folder and of its folders `data`, `train`, `val`, ..., sorted.

    Others are looked into only where `datasets` says so (`dataset_dict.json`): class folders may hold millions.
    """
    inside = sorted(os.listdir(root))
    usual = {"data", *TRAIN_FOLDERS, *VAL_FOLDERS}
    folders = [name for name in inside if name in usual or "dataset_dict.json" in inside]
    found = [name for name in inside if name.endswith(ENDINGS)]
    for folder in folders:
        if os.path.isdir(os.path.join(root, folder)):
            found += [
                f"{folder}/{name}" for name in os.listdir(os.path.join(root, folder)) if name.endswith(ENDINGS)
            ]
    return sorted(found)


def cell(path: str, column: str, row: int) -> bytes:
    """Returns the bytes of one row; the row group that holds it is kept, for its neighbours come next.

    Raises:
        ImageError: the row holds no bytes.
    """
    with _lock:
        values, start = _group(path, column, row)
    value: Any = values[row - start].as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise ImageError("holds no image bytes", f"{path}: row {row}", "embed the images: `datasets` stores paths")
    return data


class _Table:
    """A Parquet file, or an Arrow file or stream, as one opens it for its schema and single columns."""

    def __init__(self, path: str) -> None:
        self.file = opened(path) if is_remote(path) else pa.memory_map(path)
        if path.endswith(".parquet"):
            self.parquet: pq.ParquetFile | None = pq.ParquetFile(self.file)
            self.schema, self.rows = self.parquet.schema_arrow, self.parquet.metadata.num_rows
        else:
            self.parquet, self.whole = None, _read_arrow(self.file)
            self.schema, self.rows = self.whole.schema, self.whole.num_rows

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def column(self, name: str) -> pa.ChunkedArray:
        if self.parquet is not None:
            return self.parquet.read(columns=[name]).column(0)
        return self.whole.column(name)


def _read_arrow(file: Any) -> pa.Table:
    """Reads an Arrow file, or a stream as `datasets` writes it; what is mapped is not copied."""
    try:
        return pa.ipc.open_file(file).read_all()
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file).read_all()


@functools.lru_cache(maxsize=4)
def _starts(path: str) -> list[int]:
    """Returns the first row of each row group of a Parquet file, and the end."""
    with _Table(path) as table:
        assert table.parquet is not None
        sizes = (table.parquet.metadata.row_group(i).num_rows for i in range(table.parquet.num_row_groups))
        return functools.reduce(lambda starts, rows: [*starts, starts[-1] + rows], sizes, [0])


def _group(path: str, column: str, row: int) -> tuple[pa.ChunkedArray, int]:
    """Returns the column of the row group that holds a row, and the group's first row."""
    if not path.endswith(".parquet"):
        return _arrow_column(path, column), 0
    starts = _starts(path)
    number = next(i for i, end in enumerate(starts[1:]) if row < end)
    return _parquet_column(path, column, number), starts[number]


@functools.lru_cache(maxsize=2)
def _parquet_column(path: str, column: str, group: int) -> pa.ChunkedArray:
    with _Table(path) as table:
        assert table.parquet is not None
        return table.parquet.read_row_group(group, columns=[column]).column(0)


@functools.lru_cache(maxsize=2)
def _arrow_column(path: str, column: str) -> pa.ChunkedArray:
    file = opened(path) if is_remote(path) else pa.memory_map(path)  # the column's buffers keep the map open
    return _read_arrow(file).column(column)


def _image_column(schema: pa.Schema, given: str | None, path: str) -> str:
    def holds_images(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = [field.name for field in schema if holds_images(field.type)]
    if given is None and found:
        return found[0]
    if given in found:
        return str(given)
    what = f"has no column {given!r} of images" if given else "has no column of image bytes"
    raise ImageError(what, path, f"give --image-column; {nearest_names(given or '', schema.names)}")


def _label_column(schema: pa.Schema, given: str | None, path: str) -> str | None:
    if given is not None and given not in schema.names:
        raise ImageError(
            f"has no column {given!r}", path, f"give --label-column; {nearest_names(given, schema.names)}"
        )
    return given or next((name for name in _LABELS if name in schema.names), None)


def _class_names(schema: pa.Schema, label: str | None) -> list[str] | None:
    """Returns a column's class names out of the schema's `datasets` features."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _label(value: Any, names: list[str] | None, path: str) -> str | None:
    if value is None or value == -1:  # how `datasets` writes an unknown class
        return None
    if names is not None and isinstance(value, int):
        if not 0 <= value < len(names):
            raise ImageError(f"the label {value} has no name among {len(names)}", path, "write the table again")
        return names[value]
    return value if isinstance(value, str) else str(value)
