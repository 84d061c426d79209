"""Labels of rows as Arrow columns: one class a row, several, weighted ones (soft), or none.

In memory they are plain arrays: "class" int64 [n] (-1: unknown), "multi" bool [n, C], "soft" float32 [n, C].
On disk a class is one small integer, the others are lists of the classes that are not zero. Any integer width that
holds the class numbers will do, so that classes can grow without touching the shards that stand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from seit.errors import StoreError


def kind(labels: np.ndarray | None, classes: int, rows: int) -> str:
    """Returns which kind of labels an array holds, after checking it.

    Raises:
        StoreError: wrong shape, type, or a class out of range.
    """
    if labels is None:
        return "none"
    labels = np.asarray(labels)
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) and len(labels) == rows:
        if rows and not -1 <= labels.min() <= labels.max() < max(classes, 0):
            raise StoreError(
                f"labels run from {labels.min()} to {labels.max()} with {classes} classes",
                "labels",
                "name every class; -1 stands for unknown",
            )
        return "class"
    if labels.shape == (rows, classes) and labels.dtype == bool:
        return "multi"
    if labels.shape == (rows, classes) and labels.dtype == np.float32 and np.isfinite(labels).all():
        return "soft"
    raise StoreError(
        f"labels are {labels.dtype} {list(labels.shape)}",
        "labels",
        f"give integers [{rows}], bool or finite float32 [{rows}, {classes}], or None",
    )


def class_type(classes: int) -> np.dtype:
    """Returns the narrowest signed type that holds -1..classes-1."""
    for dtype in (np.int8, np.int16, np.int32):
        if classes - 1 <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise StoreError(f"{classes} classes are more than fit", "classes", "use fewer")


def columns(labels: np.ndarray | None, how: str, classes: int) -> dict[str, pa.Array]:
    """Returns the labels of n rows as Arrow columns: "label", and "weight" for soft ones."""
    if labels is None or how == "none":
        return {}
    small = class_type(classes)
    if how == "class":
        return {"label": pa.array(labels.astype(small))}
    row, cls = np.nonzero(labels)
    starts = pa.array(np.searchsorted(row, np.arange(len(labels) + 1)).astype(np.int32))
    out = {"label": pa.ListArray.from_arrays(starts, pa.array(cls.astype(small)))}
    if how == "soft":
        out["weight"] = pa.ListArray.from_arrays(starts, pa.array(labels[row, cls]))
    return out


def check(columns: dict[str, pa.Array]) -> int:
    """Returns the checksum of label columns of one entry a row: see `_check`."""
    if not columns:
        return 0
    label = columns["label"]
    if not pa.types.is_list(label.type):
        return _check(plain(label, label.type.to_pandas_dtype()))
    weights = [plain(columns["weight"].values, np.float32)] if "weight" in columns else []
    inner = label.values
    return _check(plain(label.offsets, np.int32), plain(inner, inner.type.to_pandas_dtype()), *weights)


def _check(*arrays: np.ndarray) -> int:
    """Low 32 bits of XXH3-64 of arrays' little-endian bytes: row starts, classes and weights."""
    digest = xxhash.xxh3_64()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.intdigest() & 0xFFFFFFFF


class LabelReader:
    """Gathers labels from mapped columns of one shard, checking what it reads.

    Args:
        columns: as `columns` returned them, n rows.
        how: the kind of labels.
        classes: C; a shard written before classes were added knows fewer.
        rows: n.
        where: the shard, for errors.

    Raises:
        StoreError: the columns do not hold labels of that kind.
    """

    def __init__(self, columns: dict[str, Any], how: str, classes: int, rows: int, where: str) -> None:
        self.how, self.classes, self.where, self.rows = how, classes, where, rows
        if how == "none":
            return
        label = columns["label"]
        inner = label if how == "class" else label.values
        if len(label) != rows or inner.null_count or not pa.types.is_integer(inner.type):
            raise self._damage(f"its label column is {label.type} of {len(label)} rows")
        self.values = plain(inner, inner.type.to_pandas_dtype())
        if how != "class":
            self.starts = plain(label.offsets, np.int32)
        if how == "soft":
            weight = columns["weight"]
            if weight.values.type != pa.float32() or not weight.offsets.equals(label.offsets):
                raise self._damage("its weights do not match its labels")
            self.weights = plain(weight.values, np.float32)
            if len(self.weights) != len(self.values):
                raise self._damage("its weights do not match its labels")

    def check(self) -> int:
        """Returns the checksum of all labels; compare it with the shard's own."""
        arrays = {"none": [], "class": ["values"], "multi": ["starts", "values"]}
        names = arrays.get(self.how, ["starts", "values", "weights"])
        return _check(*(getattr(self, name) for name in names)) if names else 0

    def at(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the labels of the given rows of the shard, in their in-memory form."""
        if self.how == "none":
            return None
        if self.how == "class":
            labels = self.values[rows]
            if len(labels) and not (labels.min() >= -1 and labels.max() < self.classes):
                raise self._damage(f"a label lies outside -1..{self.classes - 1}")
            return labels.astype(np.int64)
        out = np.zeros((len(rows), self.classes), bool if self.how == "multi" else np.float32)
        for i, row in enumerate(rows):
            start, stop = int(self.starts[row]), int(self.starts[row + 1])
            cls = self.values[start:stop] if 0 <= start <= stop <= len(self.values) else None
            if cls is None or (len(cls) and not (cls.min() >= 0 and cls.max() < self.classes)):
                raise self._damage(f"the labels of row {row} are out of range")
            out[i, cls] = True if self.how == "multi" else self.weights[start:stop]
        return out

    def _damage(self, what: str) -> StoreError:
        return StoreError(what, self.where, "run seit verify, then seit repair")


def count(labels: np.ndarray | None, classes: int) -> np.ndarray:
    """Counts the rows of each class, int64 [C]; unknown ones count nowhere, rows of several in each of theirs."""
    if labels is None:
        return np.zeros(classes, np.int64)
    if labels.ndim == 1:
        return np.bincount(labels.astype(np.int64) + 1, minlength=classes + 1)[1:]
    return np.count_nonzero(labels, axis=0).astype(np.int64)


def plain(array: pa.Array, dtype: Any) -> np.ndarray:
    """Returns an array without nulls as a view of its buffer; `to_numpy` would import an installed pandas."""
    data = array.buffers()[1]
    return np.frombuffer(data or b"", dtype, array.offset + len(array) if data else 0)[array.offset :]
