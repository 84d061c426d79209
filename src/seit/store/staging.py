"""Parts: the plain ids, labels and names that a writer has finished but not committed yet.

A part is one uncompressed Arrow file in OUT.partial, put there atomically: it exists if and only if it is whole,
so an interrupted write resumes by looking which parts exist. Writers of different parts never meet.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from seit import files
from seit.errors import StoreError
from seit.store.rows import RowTable

_NAME = re.compile(r"part-(\d{6})\.arrow")
_OWN = re.compile(r"part-\d{6}\.arrow|plan\.json|listing\.\w+|lock(-.*)?|\..*\.tmp")


@dataclass
class Part:
    """Some rows of one split as the tokenizer gave them.

    Attributes:
        split: which split they belong to.
        ids: [n, h, w] tokenizer ids.
        labels: as `seit.store.labels` describes, or None.
        table: their names, sizes and hashes.
        note: JSON-able; what the writer of the part wants to know of it at the commit.
    """

    split: str
    ids: np.ndarray
    labels: np.ndarray | None
    table: RowTable
    note: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def write_part(folder: Path, number: int, part: Part) -> None:
    """Writes part `number`, whole or not at all."""
    n, h, w = part.ids.shape
    flat = pa.py_buffer(np.ascontiguousarray(part.ids))
    width = h * w * part.ids.itemsize
    columns = {"ids": pa.Array.from_buffers(pa.binary(width), n, [None, flat])}
    shape = ""
    if part.labels is not None:
        labels = np.ascontiguousarray(part.labels)
        shape = f"{labels.dtype.str} {labels.shape[1] if labels.ndim == 2 else 0}"
        columns["labels"] = pa.Array.from_buffers(
            pa.binary(labels.nbytes // n if n else labels.itemsize), n, [None, pa.py_buffer(labels)]
        )
    columns |= part.table.columns()
    metadata = {"split": part.split, "ids": f"{part.ids.dtype.str} {h} {w}", "labels": shape}
    metadata["note"] = json.dumps(part.note)
    batch = pa.record_batch(list(columns.values()), names=list(columns)).replace_schema_metadata(metadata)
    path = folder / f"part-{number:06d}.arrow"
    with files.atomic(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as out:
        out.write_batch(batch)


def read_part(folder: Path, number: int) -> Part:
    """Reads part `number`; its ids and labels are views of the mapped file."""
    batch, split, ids = _mapped(folder, number)
    shape, labels = batch.schema.metadata[b"labels"].decode(), None
    if shape:
        dtype, width = shape.split()
        labels = _plain(batch.column("labels"), dtype)
        labels = labels.reshape(len(ids), int(width)) if int(width) else labels
    return Part(split, ids, labels, RowTable.from_columns(batch))


def read_ids(folder: Path, number: int) -> tuple[str, np.ndarray]:
    """Returns the split and the ids [n, h, w] of part `number` alone, as a view of the mapped file."""
    return _mapped(folder, number)[1:]


def read_note(folder: Path, number: int) -> dict[str, Any]:
    """Returns what was noted with part `number`."""
    return json.loads(_mapped(folder, number)[0].schema.metadata.get(b"note", b"{}"))


def _mapped(folder: Path, number: int) -> tuple[pa.RecordBatch, str, np.ndarray]:
    path = folder / f"part-{number:06d}.arrow"
    try:
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read ({error})", str(path), "delete it and run the command again") from None
    dtype, h, w = batch.schema.metadata[b"ids"].decode().split()
    ids = _plain(batch.column("ids"), dtype).reshape(batch.num_rows, int(h), int(w))
    return batch, batch.schema.metadata[b"split"].decode(), ids


def _plain(column: pa.Array, dtype: str) -> np.ndarray:
    buffer = column.buffers()[1]
    return np.frombuffer(buffer, dtype) if buffer is not None and len(column) else np.zeros(0, dtype)


def discard(folder: Path, numbers: Iterable[int]) -> None:
    """Removes parts, which are then to be written again."""
    for number in numbers:
        (folder / f"part-{number:06d}.arrow").unlink(missing_ok=True)


def finished(folder: Path) -> set[int]:
    """Returns the numbers of the parts that are whole."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("part-*.arrow"))
    return {int(match[1]) for match in found if match}


def regrouped(folder: Path, numbers: list[int], rows: int) -> Iterator[Part]:
    """Joins the given parts, in order, into parts of at most `rows` rows of one split, split by split.

    Parts are tokenizer-sized, shards are disk-sized: few files, whatever the size of a part.
    """
    by_split: dict[str, list[int]] = {}
    for number in numbers:
        by_split.setdefault(read_ids(folder, number)[0], []).append(number)
    for mine in by_split.values():
        yield from regroup((read_part(folder, number) for number in mine), rows)


def regroup(parts: Iterable[Part], rows: int) -> Iterator[Part]:
    """Joins and cuts parts of one split into parts of `rows` rows; the last may have fewer."""
    waiting: list[Part] = []
    for part in parts:
        start = 0
        while start < len(part):
            stop = min(len(part), start + rows - sum(map(len, waiting)))
            waiting.append(_cut(part, start, stop))
            start = stop
            if sum(map(len, waiting)) == rows:
                yield _joined(waiting)
                waiting = []
    if waiting:
        yield _joined(waiting)


def remove(folder: Path) -> None:
    """Removes a folder of parts: the files that writers put there, and the folder if nothing else is in it."""
    for path in folder.iterdir():
        if _OWN.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody put something else there: it stays
        folder.rmdir()


def _cut(part: Part, start: int, stop: int) -> Part:
    labels = None if part.labels is None else part.labels[start:stop]
    return Part(part.split, part.ids[start:stop], labels, part.table.take(np.arange(start, stop)))


def _joined(parts: list[Part]) -> Part:
    labels = None if parts[0].labels is None else np.concatenate([part.labels for part in parts])
    ids = np.concatenate([part.ids for part in parts])
    return Part(parts[0].split, ids, labels, RowTable.join([part.table for part in parts]))
