"""Writing rows that are in a store already as another store: recode, merge and subset are all this one function."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seit.errors import StoreError
from seit.progress import progress
from seit.store.dataset import TokenDataset
from seit.store.row_sequence import hashed
from seit.store.staging import Part
from seit.store.token_rows import TokenRows, same_kind
from seit.store.writer import TokenWriter

_CELLS = 1 << 23  # about 8192 rows of 32 x 32 in memory at a time


def save(
    splits: Mapping[str, TokenRows], out: str | os.PathLike[str], codec: str = "auto", command: str = ""
) -> Path:
    """Writes rows as a new token data set; ids, labels, names and views are kept exactly.

    Args:
        splits: the rows of each split: data sets, selections or joins of one tokenizer.
        out: the folder to make.
        codec: which codec to fit to them.
        command: how to repeat this, recorded.

    Returns:
        OUT.

    Raises:
        StoreError: the splits differ in tokenizer, grid, classes or kind of labels; OUT exists.

    Example:
        >>> save({"train": Joined([a, b])}, "merged")                    # merge
        >>> save({"train": data.with_classes(["cat", "dog"])}, "pets")   # subset
    """
    if not splits:
        raise StoreError("no splits to save", os.fspath(out), "give at least one")
    first = next(iter(splits.values()))
    for name, rows in splits.items():
        same_kind(first, rows, f"split {name}")
    prints = [part for name, rows in splits.items() for part in (name, rows.fingerprint())]
    writer = TokenWriter(
        out,
        tokenizer=first.tokenizer,
        codebook=full_codebook(list(splits.values())),
        grid=first.grid,
        classes=first.classes,
        source={key: value for key, value in first.source.items() if not key.endswith("_bytes")},
        plan=hashed("save", codec, *prints),
        codec=codec,
        command=command,
        vocabulary=first.full_vocabulary,
        views=first.views,
    )
    with progress(sum(map(len, splits.values())), "copy", "rows") as bar:
        number = 0
        for split, rows in splits.items():
            for part in parts_of(rows, split, _CELLS // (first.grid[0] * first.grid[1])):
                if number not in writer.finished:
                    writer.write(number, split, part.ids, part.labels, part.table)
                number += 1
                bar.update(len(part))
    return writer.commit()


def recode(path: str | os.PathLike[str], out: str | os.PathLike[str], codec: str, command: str = "") -> Path:
    """Writes a store again with another codec ("zero-order", "context", "learned" or "auto")."""
    data = TokenDataset(path)
    return save({split: TokenDataset(path, split) for split in data.splits}, out, codec, command)


def parts_of(rows: TokenRows, split: str, count: int) -> Iterator[Part]:
    """Yields rows in parts of at most about `count` rows, never cutting an image's views apart."""
    step = max(count // rows.views, 1) * rows.views
    for start in range(0, len(rows), step):
        indices = np.arange(start, min(start + step, len(rows)))
        yield Part(split, rows.tokenizer_ids(indices), rows.labels_at(indices), rows.rows_at(indices))


def full_codebook(parts: list[TokenRows]) -> np.ndarray | None:
    """Returns float32 [full vocabulary, d] with zeros where no part uses a code, or None if unknown."""
    full = None
    for part in parts:
        vectors = part.codebook
        if vectors is None:
            return None
        if full is None:
            full = np.zeros((part.full_vocabulary, vectors.shape[1]), np.float32)
        full[part.used_codes] = vectors
    return full
