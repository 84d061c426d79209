"""Rows: one contract for all that is read in rows, be it ids, images, some rows of either or several sets.

Map-style and torch-free: `len`, `[i]`, `[slice]` and `__getitems__`, which a PyTorch DataLoader calls with a whole
batch. A training reads a plan instead (`read`), because some rows are drawn anew at every place of an epoch.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from seit.errors import StoreError, nearest_names
from seit.store.runs import compact

_CHUNK = 1 << 20


class Asked(NamedTuple):
    """One batch of a plan.

    Attributes:
        epoch: its number.
        positions: int64 [b], the rows' places in the epoch.
        rows: int64 [b], which rows stand there.
    """

    epoch: int
    positions: np.ndarray
    rows: np.ndarray


Loaded = tuple[Asked, np.ndarray, np.ndarray | None]
"""A batch of a plan with its inputs and labels, as `Rows.batch` returns them."""


class Rows(ABC):
    """A sequence of rows with labels.

    Attributes:
        grid: (h, w) cells of ids, or (H, W) pixels.
        classes: class names in label order.
        label_kind: "class", "multi", "soft" or "none".
        views: consecutive rows that show one image.
    """

    grid: tuple[int, int]
    classes: list[str]
    label_kind: str
    views: int

    described: ClassVar[tuple[str, ...]] = ("grid", "classes", "label_kind", "views")
    """The attributes that a selection has from its base."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the given rows: ids [n, h, w] or pixels uint8 [n, 3, H, W], and their labels.

        Args:
            indices: integers [n], in any order, repeats allowed.
        """

    @abstractmethod
    def labels_at(self, indices: Any) -> np.ndarray | None:
        """Returns the labels of the given rows: int64 [n], bool [n, C], float32 [n, C], or None."""

    @abstractmethod
    def names(self, indices: Any) -> list[str]:
        """Returns the source names of the given rows' images."""

    @abstractmethod
    def bytes_at(self, indices: Any) -> np.ndarray:
        """Returns what each of the given rows takes where it is stored, bytes, float64 [n].

        That is the payload: of ids the code words, of an image its file. What rows share (codebook, tables) is not
        in it; rows of one block, and views of one file, have equal parts of it.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a hash of which rows these are, without reading them; equal only for equal rows."""

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of all rows, as `labels_at` returns them."""
        return self.labels_at(np.arange(len(self)))

    def read(self, plan: Iterable[Asked], seed: int) -> Iterator[Loaded]:
        """Yields the batches of a plan in its order; a thread reads one ahead.

        Args:
            plan: what to read.
            seed: of the run. With epoch and position it settles what is drawn anew for every batch, where a
                kind of rows has that.
        """

        def load(asked: Asked) -> Loaded:
            return asked, *self.batch(asked.rows)

        plan = iter(plan)
        with ThreadPoolExecutor(1, "seit-rows") as thread:
            ahead = [thread.submit(load, asked) for asked in itertools.islice(plan, 1)]
            for following in itertools.chain(plan, [None]):
                if not ahead:
                    return
                ready = ahead.pop().result()
                if following is not None:
                    ahead.append(thread.submit(load, following))
                yield ready

    def __getitem__(self, index: Any) -> tuple[np.ndarray, Any]:
        """Returns (input, label) of one row, or (inputs, labels) of a slice."""
        if isinstance(index, slice):
            return self.batch(np.arange(*index.indices(len(self))))
        inputs, labels = self.batch([index])
        return inputs[0], _item(labels, 0)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, Any]]:
        """Returns one (input, label) a row, read together; PyTorch's DataLoader calls this."""
        inputs, labels = self.batch(indices)
        return [(inputs[i], _item(labels, i)) for i in range(len(inputs))]

    def checked(self, indices: Any) -> np.ndarray:
        """Returns indices as int64 [n] within 0..N-1; negative ones count from the end.

        Raises:
            StoreError: they are not integers.
            IndexError: one is out of range.
        """
        array = np.atleast_1d(np.asarray(indices))
        if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
            raise StoreError(f"row numbers are {array.dtype} {list(array.shape)}", "indices", "give integers [n]")
        array = array.astype(np.int64)
        size = len(self)
        if array.size and not -size <= array.min() <= array.max() < size:
            worst = int(array.max() if array.max() >= size else array.min())
            raise IndexError(f"row {worst} of {size}")
        return np.where(array < 0, array + size, array)

    def selected(self, rows: np.ndarray) -> Rows:
        """Returns the rows int64 [n] of this sequence as a view; `subset` checks them first."""
        return Selection(self, rows)

    def subset(self, indices: Any) -> Self:
        """Returns the given rows (numbers, a range or a slice), in that order, as a view that copies nothing."""
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        if isinstance(indices, range):
            indices = np.arange(indices.start, indices.stop, indices.step)
        return self.selected(self.checked(indices))  # type: ignore[return-value]

    def with_classes(self, classes: Iterable[str | int]) -> Self:
        """Returns the rows of the given classes (names or numbers); labels keep their numbers.

        Raises:
            StoreError: a class is unknown, or labels are not one class a row.
        """
        if self.label_kind != "class":
            raise StoreError(f"rows have {self.label_kind} labels", "with_classes", "it needs one class a row")
        numbers = [self.class_number(name) for name in classes]
        picked = [np.zeros(0, np.int64)]
        for start in range(0, len(self), _CHUNK):
            labels = self.labels_at(np.arange(start, min(start + _CHUNK, len(self))))
            picked.append(start + np.flatnonzero(np.isin(labels, numbers)))  # type: ignore[arg-type]
        return self.selected(np.concatenate(picked))  # type: ignore[return-value]

    def every(self, step: int) -> Self:
        """Returns every `step`-th image, with all of its views, from the first on."""
        images = np.arange(0, len(self) // self.views, step)
        rows = (images[:, None] * self.views + np.arange(self.views)).reshape(-1)
        return self.selected(rows)  # type: ignore[return-value]

    def tasks(self, count: int) -> list[Self]:
        """Splits the classes, in label order, into `count` tasks of (nearly) equal size, for continual learning.

        Raises:
            StoreError: more tasks than classes, or labels are not one class a row.
        """
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


def describe_like(rows: Rows, base: Rows) -> None:
    """Gives `rows` the description (grid, classes, ...) of `base`."""
    for name in base.described:
        setattr(rows, name, getattr(base, name))


class Selection(Rows):
    """The rows `indices` of `base`, in that order; pickled with `base` and the row numbers alone.

    Args:
        base: where the rows are.
        indices: int64 [n] within it.
    """

    def __init__(self, base: Rows, indices: np.ndarray) -> None:
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

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        return self.base.batch(self._in_base(indices))

    def labels_at(self, indices: Any) -> np.ndarray | None:
        return self.base.labels_at(self._in_base(indices))

    def names(self, indices: Any) -> list[str]:
        return self.base.names(self._in_base(indices))

    def bytes_at(self, indices: Any) -> np.ndarray:
        return self.base.bytes_at(self._in_base(indices))

    def read(self, plan: Iterable[Asked], seed: int) -> Iterator[Loaded]:
        own, plan = itertools.tee(plan)
        there = (asked._replace(rows=self._in_base(asked.rows)) for asked in plan)
        for asked, (_, inputs, labels) in zip(own, self.base.read(there, seed), strict=True):
            yield asked, inputs, labels

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
