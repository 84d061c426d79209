"""Tables: CSV, TSV and JSON lines of paths or URLs; Parquet and Arrow (also of `datasets`) with pictures inside."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seit.errors import ImageError
from seit.images.account import BLANK, Account, some
from seit.images.columns import (
    IMAGES,
    LABELS,
    SPLITS,
    Choice,
    label_of,
    pick,
    plain,
    read_text,
    split_of,
    split_of_path,
)
from seit.images.listed import Listed
from seit.images.listing import opens
from seit.images.places import Place, is_remote, joined, opened

_ARROW = (".parquet", ".arrow")
_lock = threading.Lock()  # a Parquet file's reader is one thread's


class Table:
    """The columns of one table, and where its rows stand.

    Args:
        path: of a .csv, .tsv, .jsonl, .ndjson, .parquet or .arrow file.

    Attributes:
        names: of the columns.
        rows: how many.
        pictures: names of the columns that may hold pictures' bytes.
        blank: how many further rows hold nothing.

    Raises:
        ImageError: it cannot be read, or a row is not one of such a file.
    """

    def __init__(self, path: str) -> None:
        self.path, self.pictures, self.blank = path, list[str](), 0
        self._schema: pa.Schema | None = None
        if path.lower().endswith(_ARROW):
            with _Opened(path) as file:
                self._schema, self.rows, self.names = file.schema, file.rows, file.schema.names
                self.pictures = [column.name for column in file.schema if _holds_bytes(column.type)]
            return
        rows = list(_csv(path) if path.lower().endswith((".csv", ".tsv")) else _json_lines(path))
        self._cells = [(line, row) for line, row in rows if any(one not in (None, "") for one in row.values())]
        self.names = list(dict.fromkeys(name for _, row in self._cells for name in row))
        self.rows, self.blank = len(self._cells), len(rows) - len(self._cells)

    def column(self, name: str | None) -> list[Any]:
        """Returns the cells of a column; None where a row, or the table, has none."""
        if name is None:
            return [None] * self.rows
        if self._schema is None:
            return [row.get(name) for _, row in self._cells]
        with _Opened(self.path) as file:
            return file.column(name).to_pylist()

    def where(self, row: int, column: str | None = None) -> str:
        """Returns what an error calls a row, or its cell in a column."""
        place = f"row {row}" if self._schema is not None else f"line {self._cells[row][0]}"
        return f"{self.path}: {place}" + (f", column {column!r}" if column else "")

    def class_names(self, column: str | None) -> list[str] | None:
        """Returns the names of the classes that numbers of a column stand for, out of `datasets`' features."""
        try:
            feature = json.loads(self._schema.metadata[b"huggingface"])["info"]["features"][column]  # type: ignore
            feature = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
            names = feature["names"]
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def list_tables(root: str, files: list[str], choice: Choice, account: Account) -> Listed:
    """Lists the rows of tables; of the columns that hold bytes nothing is read.

    Images are bytes (or `datasets`' {bytes, path}), else paths from the table's folder, or http(s) URLs. The column
    `split` says the split, else the table's name or folder (`train-00000-of-00002.parquet`). `boxes` give the
    views of an image, [top, left, height, width] in pixels of the upright image each, and `flips` which are
    mirrored; then a list of labels names a class a view, and otherwise several classes of the image.

    Args:
        root: the folder that names are relative to.
        files: tables below it.
        choice: columns that the user named.
        account: gets the tables, and which columns were read.

    Raises:
        ImageError: a table cannot be read or lacks a column, or a row is not as above.
    """
    listed = Listed()
    for name in files:
        table = Table(joined(root, name))
        account.containers += 1
        for _ in range(table.blank):
            account.leave(BLANK, name)
        if table.rows:
            _add_rows(listed, table, name, choice, account)
    return listed


def _add_rows(listed: Listed, table: Table, name: str, choice: Choice, account: Account) -> None:
    """Adds the rows of one table, which is called `name` in its source."""
    image = _image_column(table, choice, account)
    inside = image in table.pictures
    others = [column for column in table.names if column not in (image, "boxes", "flips")]
    label = pick(others, choice.label, LABELS, "--label-column", table.path)
    split = pick(others, None, SPLITS, "", table.path)
    unread = [column for column in others if column not in (label, split)]
    account.columns = list(dict.fromkeys([*account.columns, *unread]))
    alike = [column for column in unread if plain(column) in LABELS]
    if label is not None:
        listed.by = f"column {label!r}"
        if choice.label is None and alike:
            account.note(f"labels are of column {label!r}, not of {some(alike)} (--label-column)")
    names, by_name = table.class_names(label), split_of_path(name)
    paths = [None] * table.rows if inside else table.column(image)
    for row, (path, cell, part) in enumerate(zip(paths, table.column(label), table.column(split), strict=True)):
        if inside:
            key, place = f"{name}/{row:06d}", Place("row", table.path, image, row)
        else:
            place = _place(path, table, row, image, choice)
            key = place.inner
        class_or_classes = label_of(cell, table.where(row, label), names)
        listed.add(key, place, class_or_classes, split_of(part, table.where(row, split)) or by_name)
    _add_views(listed, table)


def _image_column(table: Table, choice: Choice, account: Account) -> str:
    """Returns the column of pictures, else of paths."""
    column = pick(table.names, choice.image, (), "--image-column", table.path)
    if column is None and table.pictures:
        column = pick(table.pictures, None, IMAGES, "", "")
        column = column or next((name for name in table.pictures if _starts_as_picture(table, name)), None)
        others = [name for name in table.pictures if name != column and plain(name) not in LABELS]
        if column is not None and others:
            account.note(f"pictures are of column {column!r}, not of {some(others)} (--image-column)")
    column = column or pick(table.names, None, IMAGES, "", "")
    if column is None:
        known = f"its columns are {some(table.names, 8)}"
        raise ImageError("has no column of pictures, paths or URLs", table.path, f"give --image-column; {known}")
    return column


def _starts_as_picture(table: Table, column: str) -> bool:
    """Says whether the first cell of a column that is not null holds a picture."""
    for row in range(min(table.rows, 100)):
        with contextlib.suppress(ImageError, pa.ArrowException):
            return opens(io.BytesIO(cell(table.path, column, row)))
    return False


def _csv(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line, cells by column) of a CSV or TSV; the delimiter is the commonest one of its first line."""
    text = read_text(path)
    head = text.partition("\n")[0]
    delimiter = max("\t,;|", key=head.count) if path.lower().endswith(".tsv") else max(",;\t|", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len({name for name in names if name}) < sum(map(bool, names)):
            raise ImageError("names a column twice", f"{path}: line 1", "keep each column once")
        for row in reader:
            cells = [one.strip() for one in row]
            if any(cells[len(names) :]):
                what = f"has {len(cells)} cells, and line 1 names {len(names)} columns"
                raise ImageError(what, f"{path}: line {reader.line_num}", "quote cells that hold a comma")
            yield reader.line_num, {name: one for name, one in zip(names, cells, strict=False) if name}
    except csv.Error as error:
        raise ImageError(f"is no CSV ({error})", f"{path}: line {reader.line_num}", "mend it") from error


def _json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line, object) of JSON lines, or of one JSON array."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            rows = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError):
            rows = [(1, None)]
    else:
        rows = [
            (number, _parsed(line, f"{path}: line {number}")) for number, line in enumerate(text.split("\n"), 1)
        ]
        rows = rows[:-1] if rows[-1][1] == {} else rows
    for number, row in rows:
        if not isinstance(row, dict):
            raise ImageError("is no JSON object", f"{path}: line {number}", 'write {"path": ..., "label": ...}')
        yield number, row


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line) if line.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ImageError(f"is no JSON ({str(error)[:60]})", where, "mend it") from None


def _place(path: Any, table: Table, row: int, column: str, choice: Choice) -> Place:
    """Returns where a path or URL leads; of protocols http and https alone, since a list may be a stranger's."""
    where = table.where(row)
    if not isinstance(path, str) or not path:
        raise ImageError(f"has no {column}", where, "give a path or URL in every row")
    if path.lower().startswith(("http://", "https://")):
        return Place("private-url" if choice.private else "url", "", path)
    if is_remote(path) or "\0" in path:
        raise ImageError(f"{path[:80]!r} is neither a path nor an http(s) URL", where, "give one of these")
    folder = table.path.rpartition("/")[0] or ("." if not table.path.startswith("/") else "/")
    return Place("file", folder, path if "/" in path else path.replace("\\", "/"))


def _add_views(listed: Listed, table: Table) -> None:
    """Adds the boxes and flips of a table's rows."""
    boxes = table.column("boxes") if "boxes" in table.names else [None] * table.rows
    flips = table.column("flips") if "flips" in table.names else [None] * table.rows
    if not any(boxes) and not listed.boxes:
        return
    for row, (views, mirrored) in enumerate(zip(boxes, flips, strict=True)):
        where = table.where(row)
        if views is None:
            raise ImageError("has no boxes, and other rows have", where, "give each image its boxes")
        if not isinstance(views, list) or not views or not all(map(_is_box, views)):
            raise ImageError("its boxes are not [[top, left, height, width], ...] in pixels", where, "mend them")
        mirrored = [False] * len(views) if mirrored is None else mirrored
        if not isinstance(mirrored, list) or len(mirrored) != len(views) or {*map(type, mirrored)} - {bool}:
            raise ImageError("its flips are not one of true and false a box", where, "mend them")
        if listed.boxes and len(views) != len(listed.boxes[0]):
            what = f"has {len(views)} boxes, the first image {len(listed.boxes[0])}"
            raise ImageError(what, where, "give as many")
        listed.boxes.append([(top, left, height, width) for top, left, height, width in views])
        listed.flips.append(mirrored)
    if len(listed.boxes) < len(listed.names):
        raise ImageError("some rows have boxes and some have none", table.path, "give each image its boxes")


def _is_box(box: Any) -> bool:
    whole = isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)
    return whole and min(box[:2]) >= 0 and min(box[2:]) > 0 and max(box) < 1 << 31


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


class _Opened:
    """A Parquet file, or an Arrow file or stream, as one opens it for its schema and single columns."""

    def __init__(self, path: str) -> None:
        self.path = path
        with self._errors():
            self.file = opened(path) if is_remote(path) else pa.memory_map(path)
            if path.lower().endswith(".parquet"):
                self.parquet: pq.ParquetFile | None = pq.ParquetFile(self.file)
                self.schema, self.rows = self.parquet.schema_arrow, self.parquet.metadata.num_rows
            else:
                self.parquet, self.whole = None, _read_arrow(self.file)
                self.schema, self.rows = self.whole.schema, self.whole.num_rows

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def column(self, name: str) -> pa.ChunkedArray:
        with self._errors():
            return self.whole.column(name) if self.parquet is None else self.parquet.read(columns=[name]).column(0)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            what = f"cannot be read ({str(error)[:120]})"
            raise ImageError(what, self.path, "write the table again") from error


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
    with _Opened(path) as table:
        assert table.parquet is not None
        sizes = (table.parquet.metadata.row_group(i).num_rows for i in range(table.parquet.num_row_groups))
        return functools.reduce(lambda starts, rows: [*starts, starts[-1] + rows], sizes, [0])


def _group(path: str, column: str, row: int) -> tuple[pa.ChunkedArray, int]:
    """Returns the column of the row group that holds a row, and the group's first row."""
    if not path.lower().endswith(".parquet"):
        return _arrow_column(path, column), 0
    starts = _starts(path)
    number = next(i for i, end in enumerate(starts[1:]) if row < end)
    return _parquet_column(path, column, number), starts[number]


@functools.lru_cache(maxsize=2)
def _parquet_column(path: str, column: str, group: int) -> pa.ChunkedArray:
    with _Opened(path) as table:
        assert table.parquet is not None
        return table.parquet.read_row_group(group, columns=[column]).column(0)


@functools.lru_cache(maxsize=2)
def _arrow_column(path: str, column: str) -> pa.ChunkedArray:
    file = opened(path) if is_remote(path) else pa.memory_map(path)  # the column's buffers keep the map open
    return _read_arrow(file).column(column)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Says whether a column may hold pictures: bytes, or `datasets`' {bytes, path}."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
