"""A listing as a file: what a source held when a job began, so that going on with the job lists nothing again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from seit import files
from seit.errors import ImageError
from seit.images.account import Account
from seit.images.listed import Source
from seit.images.places import Place

_ABOUT = b"seit-listing"


def save_listing(source: Source, path: Path, key: str) -> None:
    """Writes a source's listing as one Arrow file, whole or not at all.

    Args:
        source: the listed images.
        path: the file.
        key: what `load_listing` has to ask for.
    """
    places = [source.places[i] for i in range(len(source))]
    columns: dict[str, Any] = {
        "name": pa.array(source.names, pa.string()),
        "label": pa.array(source.labels),
        "how": pa.array([place.how for place in places], pa.string()).dictionary_encode(),
        "container": pa.array([place.container for place in places], pa.string()).dictionary_encode(),
        "inner": pa.array([place.inner for place in places], pa.string()),
        **{name: pa.array([getattr(place, name) for place in places], pa.int64()) for name in _NUMBERS},
    }
    if source.view_labels.shape[1]:
        columns["view_labels"] = pa.array(source.view_labels.tolist(), pa.list_(pa.int64()))
    if source.several is not None:
        columns["several"] = pa.array(source.several, pa.list_(pa.int64()))
    if source.boxes:
        columns["boxes"] = pa.array(source.boxes, pa.list_(pa.list_(pa.int32())))
        columns["flips"] = pa.array(source.flips, pa.list_(pa.bool_()))
    about = {
        "key": key,
        "name": source.name,
        "classes": source.classes,
        "split_rule": source.split_rule,
        "train": source.train,
        "account": source.account.to_json(),
    }
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with files.atomic(path) as temporary, pa.ipc.new_file(str(temporary), table.schema, options=options) as out:
        out.write_table(table)


def load_listing(path: str | os.PathLike[str], key: str, account: Account | None = None) -> Source | None:
    """Reads a listing, or returns None if there is none, or another than `key` asks for.

    Args:
        path: the file.
        key: what it was saved for.
        account: is filled in with the listing's own.

    Raises:
        ImageError: the file is damaged.
    """
    if not os.path.exists(path):
        return None
    try:
        with pa.memory_map(os.fspath(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        about = json.loads(table.schema.metadata[_ABOUT])
        if about["key"] != key:
            return None
        source = Source(
            about["name"],
            about["classes"],
            about["split_rule"],
            about["train"],
            table.column("name").to_pylist(),
            _Columns(table),
            table.column("label").to_numpy(),
            account=(account or Account()).fill(about["account"]),
        )
        source.view_labels = np.zeros((len(source), 0), np.int64)
        if "several" in table.column_names:
            source.several = table.column("several").to_pylist()
        if "view_labels" in table.column_names:
            source.view_labels = np.array(table.column("view_labels").to_pylist(), np.int64)
        if "boxes" in table.column_names:
            source.boxes = [[tuple(box) for box in boxes] for boxes in table.column("boxes").to_pylist()]
            source.flips = table.column("flips").to_pylist()
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ImageError(
            f"cannot be read ({str(error)[:120]})", os.fspath(path), "delete it and run again"
        ) from error
    return source


_NUMBERS = ("offset", "stored", "size")


class _Columns(Sequence):
    """Places as the columns of a listing."""

    def __init__(self, table: pa.Table) -> None:
        # Dictionaries differ from chunk to chunk; a single chunk has one.
        self._texts = [table.column(name).combine_chunks() for name in ("how", "container", "inner")]
        self._numbers = [table.column(name).to_numpy() for name in _NUMBERS]

    def __len__(self) -> int:
        return len(self._numbers[0])

    def __getitem__(self, index):
        how, container, inner = (column[index].as_py() for column in self._texts)
        return Place(how, container, inner, *(int(column[index]) for column in self._numbers))
