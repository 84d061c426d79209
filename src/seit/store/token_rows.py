"""Rows of ids: what a whole token data set, a selection of one and several joined have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from seit.errors import StoreError
from seit.store.row_sequence import Rows, Selection
from seit.store.rows import RowTable


class TokenRows(Rows):
    """A sequence of rows of ids with their labels.

    Attributes:
        grid: (h, w) cells.
        vocabulary: K, the ids are 0..K-1.
        used_codes: int32 [K], the tokenizer's code of each id.
        full_vocabulary: codes of the tokenizer.
        codebook: float32 [K, d], or None where the vectors are unknown.
        tokenizer: name, identity, provenance, preprocessing.
        source: name, terms and sizes of the images.
    """

    vocabulary: int
    used_codes: np.ndarray
    codebook: np.ndarray | None
    tokenizer: dict[str, Any]
    source: dict[str, Any]
    full_vocabulary: int

    described: ClassVar[tuple[str, ...]] = (
        *Rows.described,
        *("vocabulary", "used_codes", "full_vocabulary", "codebook", "tokenizer", "source"),
    )

    @abstractmethod
    def ids(self, indices: Any) -> np.ndarray:
        """Returns the ids of the given rows, uint16 (uint32 above 65,536 codes) [n, h, w].

        Args:
            indices: integers [n], in any order, repeats allowed.

        Raises:
            StoreError: an index is out of range, or the bytes of a row are damaged.
        """

    @abstractmethod
    def rows_at(self, indices: Any) -> RowTable:
        """Returns where the given rows came from (slow: the side tables are compressed)."""

    def names(self, indices: Any) -> list[str]:
        """Returns the source names of the given rows."""
        return self.rows_at(indices).name

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the ids [n, h, w] and labels of the given rows."""
        return self.ids(indices), self.labels_at(indices)

    def tokenizer_ids(self, indices: Any) -> np.ndarray:
        """Returns the ids of the given rows in the tokenizer's own numbering, int32 [n, h, w]."""
        return self.used_codes[self.ids(indices)]

    def selected(self, rows: np.ndarray) -> TokenRows:
        """Returns the rows int64 [n] of this sequence as a view."""
        return TokenSelection(self, rows)


class TokenSelection(Selection, TokenRows):
    """Some rows of ids, in any order; see `Selection`."""

    base: TokenRows

    def ids(self, indices: Any) -> np.ndarray:
        return self.base.ids(self._in_base(indices))

    def rows_at(self, indices: Any) -> RowTable:
        return self.base.rows_at(self._in_base(indices))


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
