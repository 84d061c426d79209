"""Token data sets for other libraries: WebDataset tars, and Parquet files that `datasets` opens."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seit import files
from seit.codecs.base import id_type
from seit.errors import StoreError
from seit.store.token_rows import TokenRows

_TAR_ROWS = 10_000
_GROUP_ROWS = 1000


def export_webdataset(rows: TokenRows, folder: str | os.PathLike[str], name: str = "train") -> list[Path]:
    """Writes tars of `<key>.npy` (ids [h, w]), `<key>.cls` (the label) and `<key>.txt` (the source's name).

    Args:
        rows: with one class a row, or none.
        folder: where `<name>-NNNNN.tar` go.
        name: of the files.

    Returns:
        The tars written.
    """
    folder = _ready(rows, folder)
    written = []
    for number, first in enumerate(range(0, len(rows), _TAR_ROWS)):
        indices = np.arange(first, min(first + _TAR_ROWS, len(rows)))
        ids, labels = rows.batch(indices)
        names = rows.names(indices)
        path = folder / f"{name}-{number:05d}.tar"
        with files.atomic(path) as temporary, tarfile.open(temporary, "w") as tar:
            for i, row in enumerate(indices.tolist()):
                npy = io.BytesIO()
                np.save(npy, ids[i])
                _add(tar, f"{row:09d}.npy", npy.getvalue())
                if labels is not None:
                    _add(tar, f"{row:09d}.cls", str(int(labels[i])).encode())
                _add(tar, f"{row:09d}.txt", names[i].encode())
        written.append(path)
    return written


def export_parquet(rows: TokenRows, folder: str | os.PathLike[str], name: str = "train") -> Path:
    """Writes `<name>.parquet` with columns ids (list of h * w), label and name; `datasets` reads it as it is.

    Args:
        rows: with one class a row, or none.
        folder: where the file goes; `datasets.load_dataset(folder)` makes a split of each file's name.
        name: of the file.

    Returns:
        The file written.
    """
    folder = _ready(rows, folder)
    cells = rows.grid[0] * rows.grid[1]
    small = id_type(rows.vocabulary)
    columns = {"ids": pa.list_(pa.from_numpy_dtype(small), cells), "name": pa.string()}
    features: dict[str, object] = {
        "ids": {"feature": {"dtype": np.dtype(small).name, "_type": "Value"}, "length": cells, "_type": "Sequence"},
        "name": {"dtype": "string", "_type": "Value"},
    }
    if rows.label_kind == "class":
        columns["label"] = pa.int64()
        features["label"] = {"names": rows.classes, "_type": "ClassLabel"}
    described = {"info": {"features": features}}
    schema = pa.schema(list(columns.items()), metadata={"huggingface": json.dumps(described)})
    path = folder / f"{name}.parquet"
    with files.atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as out:
        for first in range(0, len(rows), _GROUP_ROWS):
            indices = np.arange(first, min(first + _GROUP_ROWS, len(rows)))
            ids, labels = rows.batch(indices)
            flat = pa.array(ids.reshape(-1).astype(small))
            arrays = [pa.FixedSizeListArray.from_arrays(flat, cells), pa.array(rows.names(indices))]
            out.write_batch(pa.record_batch(arrays + ([] if labels is None else [pa.array(labels)]), schema=schema))
    return path


def _ready(rows: TokenRows, folder: str | os.PathLike[str]) -> Path:
    if rows.label_kind not in ("class", "none"):
        raise StoreError(f"rows have {rows.label_kind} labels", "export", "it holds one class a row, or none")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
