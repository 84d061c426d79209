"""Several data sets read as one, one after another. Nothing is copied or decoded until rows are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seit.codecs.base import id_type
from seit.errors import StoreError
from seit.store.row_sequence import describe_like, hashed
from seit.store.rows import RowTable
from seit.store.token_rows import TokenRows, same_kind


class Joined(TokenRows):
    """The rows of several data sets, one after another, in one numbering of codes.

    Args:
        parts: of the same tokenizer, grid, classes and kind of labels.

    Raises:
        StoreError: they differ in one of these.
    """

    def __init__(self, parts: Sequence[TokenRows]) -> None:
        if not parts:
            raise StoreError("nothing to join", "joined", "give at least one data set")
        first = parts[0]
        for i, part in enumerate(parts):
            same_kind(first, part, f"part {i} of the join")
        self.parts = list(parts)
        self.starts = np.cumsum([0, *map(len, parts)])
        describe_like(self, first)
        self.source = _combined([part.source for part in parts])
        # used codes may differ: ids are renumbered over all codes that occur in any part
        self.used_codes = np.unique(np.concatenate([part.used_codes for part in parts]))
        self.vocabulary = len(self.used_codes)
        dtype = id_type(self.vocabulary)
        self.new_ids = [np.searchsorted(self.used_codes, part.used_codes).astype(dtype) for part in parts]
        self.codebook = None
        codebooks = [part.codebook for part in parts if part.codebook is not None]
        if len(codebooks) == len(parts):
            self.codebook = np.zeros((self.vocabulary, codebooks[0].shape[1]), np.float32)
            for vectors, new in zip(codebooks, self.new_ids, strict=True):
                self.codebook[new] = vectors

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parts"])  # type: ignore[misc]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def ids(self, indices: Any) -> np.ndarray:
        indices = self.checked(indices)
        dtype = id_type(self.vocabulary)
        out = np.empty((len(indices), *self.grid), dtype)
        for number, here, local in self._split(indices):
            out[here] = self.new_ids[number][self.parts[number].ids(local)]
        return out

    def labels_at(self, indices: Any) -> np.ndarray | None:
        indices = self.checked(indices)
        out: np.ndarray | None = None
        for number, here, local in self._split(indices):
            labels = self.parts[number].labels_at(local)
            if labels is None:
                return None
            if out is None:
                out = np.empty((len(indices), *labels.shape[1:]), labels.dtype)
            out[here] = labels
        return self.parts[0].labels_at([]) if out is None else out

    def bytes_at(self, indices: Any) -> np.ndarray:
        indices = self.checked(indices)
        out = np.empty(len(indices))
        for number, here, local in self._split(indices):
            out[here] = self.parts[number].bytes_at(local)
        return out

    def rows_at(self, indices: Any) -> RowTable:
        indices = self.checked(indices)
        places, tables = [], []
        for number, here, local in self._split(indices):
            places.append(here)
            tables.append(self.parts[number].rows_at(local))
        if not tables:
            return RowTable.named([])
        return RowTable.join(tables).take(np.argsort(np.concatenate(places), kind="stable"))

    def _split(self, indices: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Groups row numbers by part: (part, places in `indices`, rows of that part)."""
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        return [
            (int(number), here, indices[here] - self.starts[number])
            for number in np.unique(owner)
            for here in [np.flatnonzero(owner == number)]
        ]

    def fingerprint(self) -> str:
        return hashed("joined", *(part.fingerprint() for part in self.parts))


def _combined(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Names every source once; terms of all apply, bytes are counted anew when the rows are written."""
    return {
        key: " + ".join(dict.fromkeys(str(source[key]) for source in sources if source.get(key)))
        for key in ("name", "split_rule", "terms")
        if any(source.get(key) for source in sources)
    }
