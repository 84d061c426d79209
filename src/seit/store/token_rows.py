"""What every sequence of rows can do, be it a whole data set, a selection of one or several joined.

All are map-style and torch-free: `len`, `[i]`, `[slice]`, `__getitems__` (which a PyTorch DataLoader calls with a
whole batch), so they go into a `torch.utils.data.DataLoader` as they are.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seit.errors import StoreError, nearest_names
from seit.store.rows import RowTable
from seit.store.runs import compact

_CHUNK = 1 << 20


class TokenRows(ABC):
    """A sequence of rows: ids with their labels.

    Attributes:
        grid: (h, w).
        vocabulary: K, the ids are 0..K-1.
        classes: class names in label order.
        label_kind: "class", "multi", "soft" or "none".
        views: consecutive rows that show one image.
        used_codes: int32 [K], the tokenizer's code of each id.
        full_vocabulary: codes of the tokenizer.
        codebook: float32 [K, d], or None where the vectors are unknown.
        tokenizer: name, identity, provenance, preprocessing.
        source: name, terms and sizes of the images.
    """

    grid: tuple[int, int]
    vocabulary: int
    classes: list[str]
    label_kind: str
    views: int
    used_codes: np.ndarray
    codebook: np.ndarray | None
    tokenizer: dict[str, Any]
    source: dict[str, Any]
    full_vocabulary: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def ids(self, indices: Any) -> np.ndarray:
        """Returns the ids of the given rows, uint16 (uint32 above 65,536 codes) [n, h, w].

        Args:
            indices: integers [n], in any order, repeats allowed.

        Raises:
            StoreError: an index is out of range, or the bytes of a row are damaged.
        """

    @abstractmethod
    def labels_at(self, indices: Any) -> np.ndarray | None:
        """Returns the labels of the given rows: int64 [n], bool [n, C], float32 [n, C], or None."""

    @abstractmethod
    def rows_at(self, indices: Any) -> RowTable:
        """Returns where the given rows came from (slow: the side tables are compressed)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a hash of which rows these are, without reading them; equal only for equal rows."""

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of all rows, as `labels_at` returns them."""
        return self.labels_at(np.arange(len(self)))

    def names(self, indices: Any) -> list[str]:
        """Returns the source names of the given rows."""
        return self.rows_at(indices).name

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the ids [n, h, w] and labels of the given rows."""
        return self.ids(indices), self.labels_at(indices)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, Any]:
        """Returns (ids [h, w], label) of one row, or (ids [n, h, w], labels) of a slice."""
        if isinstance(index, slice):
            return self.batch(np.arange(*index.indices(len(self))))
        ids, labels = self.batch([index])
        return ids[0], _item(labels, 0)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, Any]]:
        """Returns one (ids [h, w], label) a row, decoded together; PyTorch's DataLoader calls this."""
        ids, labels = self.batch(indices)
        return [(ids[i], _item(labels, i)) for i in range(len(ids))]

    def checked(self, indices: Any) -> np.ndarray:
        """Returns indices as int64 [n] within 0..N-1; negative ones count from the end."""
        array = np.atleast_1d(np.asarray(indices))
        if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
            raise StoreError(f"{array.dtype} {list(array.shape)} are no row numbers", "indices", "give integers")
        array = array.astype(np.int64)
        size = len(self)
        if array.size and not -size <= array.min() <= array.max() < size:
            worst = int(array.max() if array.max() >= size else array.min())
            raise IndexError(f"row {worst} of {size}")
        return np.where(array < 0, array + size, array)

    def tokenizer_ids(self, indices: Any) -> np.ndarray:
        """Returns the ids of the given rows in the tokenizer's own numbering, int32 [n, h, w]."""
        return self.used_codes[self.ids(indices)]

    def subset(self, indices: Any) -> TokenRows:
        """Returns the given rows (numbers, a range or a slice), in that order, as a view that copies nothing."""
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        if isinstance(indices, range):
            indices = np.arange(indices.start, indices.stop, indices.step)
        return Selection(self, self.checked(indices))

    def with_classes(self, classes: Iterable[str | int]) -> TokenRows:
        """Returns the rows of the given classes (names or numbers); labels keep their numbers.

        Raises:
            StoreError: a class is unknown, or labels are not one class a row.
        """
        if self.label_kind != "class":
            raise StoreError(f"rows have {self.label_kind} labels", "with_classes", "it needs one class a row")
        wanted = [self.class_number(name) for name in classes]
        picked = [np.zeros(0, np.int64)]
        for start in range(0, len(self), _CHUNK):
            labels = self.labels_at(np.arange(start, min(start + _CHUNK, len(self))))
            picked.append(start + np.flatnonzero(np.isin(labels, wanted)))  # type: ignore[arg-type]
        return Selection(self, np.concatenate(picked))

    def every(self, step: int) -> TokenRows:
        """Returns every `step`-th image, with all of its views, from the first on."""
        images = np.arange(0, len(self) // self.views, step)
        return Selection(self, (images[:, None] * self.views + np.arange(self.views)).reshape(-1))

    def tasks(self, count: int) -> list[TokenRows]:
        """Splits the classes, in label order, into `count` tasks of (nearly) equal size, for continual learning."""
        if not 1 <= count <= len(self.classes):
            raise StoreError(f"{count} tasks of {len(self.classes)} classes", "tasks", "give 1..classes")
        return [self.with_classes(part.tolist()) for part in np.array_split(np.arange(len(self.classes)), count)]

    def class_number(self, name: str | int) -> int:
        """Returns the number of a class.

        Raises:
            StoreError: no such class; the nearest names are given.
        """
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        if not isinstance(name, str) and 0 <= name < len(self.classes):
            return int(name)
        raise StoreError(f"no class {name!r}", "classes", nearest_names(str(name), self.classes))


def _item(labels: np.ndarray | None, i: int) -> Any:
    if labels is None:
        return -1
    return int(labels[i]) if labels.ndim == 1 else labels[i]


def same_kind(first: TokenRows, other: TokenRows, where: str, classes: bool = True) -> None:
    """Checks that rows can stand in one store.

    Args:
        first: rows of the store.
        other: rows to stand beside them.
        where: names `other` in errors.
        classes: whether the class lists must be equal too.

    Raises:
        StoreError: they differ in tokenizer, grid, classes, kind of labels or views.
    """
    for what, mine, theirs in (
        ("tokenizer", other.tokenizer.get("identity"), first.tokenizer.get("identity")),
        ("grid", other.grid, first.grid),
        ("class list", other.classes if classes else None, first.classes if classes else None),
        ("kind of labels", other.label_kind, first.label_kind),
        ("number of views", other.views, first.views),
        ("vocabulary", other.full_vocabulary, first.full_vocabulary),
    ):
        if mine != theirs:
            raise StoreError(
                f"the {what} differs: {str(mine)[:60]} instead of {str(theirs)[:60]}",
                where,
                "put only rows of one tokenizer and one class list together",
            )


def describe_like(rows: TokenRows, base: TokenRows) -> None:
    """Gives `rows` the description (grid, vocabulary, classes, ...) of `base`."""
    description = "grid vocabulary classes label_kind views used_codes full_vocabulary codebook tokenizer source"
    for name in description.split():
        setattr(rows, name, getattr(base, name))


class Selection(TokenRows):
    """The rows `indices` of `base`, in that order; pickled with `base` and the row numbers alone.

    Args:
        base: where the rows are.
        indices: int64 [n] within it.
    """

    def __init__(self, base: TokenRows, indices: np.ndarray) -> None:
        self.base, self.places = base, compact(indices)
        describe_like(self, base)
        if base.views > 1 and not _whole_images(indices, base.views):
            self.views = 1  # an image lost some of its views: its rows are on their own now

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "places": self.places, "views": self.views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        describe_like(self, state["base"])
        self.__dict__ |= state

    def __len__(self) -> int:
        return len(self.places)

    def ids(self, indices: Any) -> np.ndarray:
        return self.base.ids(self._in_base(indices))

    def labels_at(self, indices: Any) -> np.ndarray | None:
        return self.base.labels_at(self._in_base(indices))

    def rows_at(self, indices: Any) -> RowTable:
        return self.base.rows_at(self._in_base(indices))

    def _in_base(self, indices: Any) -> np.ndarray:
        return self.places[self.checked(indices)]

    def fingerprint(self) -> str:
        return hashed("selection", self.base.fingerprint(), self.places.tobytes())


def _whole_images(rows: np.ndarray, views: int) -> bool:
    """Whether row numbers are those of whole images, each with its views in order."""
    if len(rows) % views:
        return False
    images = rows.reshape(-1, views)
    return bool((images[:, :1] % views == 0).all() and (images == images[:, :1] + np.arange(views)).all())


def hashed(*parts: str | bytes) -> str:
    """Returns the hex SHA-256 of some texts or bytes, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
