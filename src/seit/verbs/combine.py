"""`seit append`, `merge` and `subset`: token data sets out of the rows of others; no image is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from seit import codecs
from seit.errors import CodecError, StoreError, nearest_names
from seit.store import TokenDataset, TokenRows
from seit.store.append import append as append_rows
from seit.store.describe import describe
from seit.store.joined import Joined
from seit.store.save import save


def append(tokens: str | os.PathLike[str], more: str | os.PathLike[str], *, codec: str = "auto") -> dict[str, Any]:
    """Adds the rows of one token data set to another, split by split; codes that are new to it are added.

    Args:
        tokens: the folder that grows. Readers see the old data set or the new one, never something between.
        more: a data set of the same tokenizer, grid and classes.
        codec: what to fit where new codes occur; else the folder's newest codec is used.

    Returns:
        What `seit info` says of the folder.

    Raises:
        CodecError: unknown codec.
        StoreError: the two do not fit together, or another process writes to the folder.
    """
    _check(codec)
    append_rows(tokens, _splits(more), codec)
    return describe(tokens)


def merge(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    codec: str = "auto",
    command: str = "",
) -> dict[str, Any]:
    """Writes several token data sets as one, split by split.

    Args:
        sources: of the same tokenizer, grid and classes.
        out: the folder to write.
        codec: "auto", "zero-order", "context" or "learned".
        command: recorded as the command that made it.

    Returns:
        What `seit info` says of it.

    Raises:
        CodecError: unknown codec.
        StoreError: they do not fit together, or `out` exists.
    """
    _check(codec)
    parts: dict[str, list[TokenRows]] = {}
    for source in sources:
        for split, rows in _splits(source).items():
            parts.setdefault(split, []).append(rows)
    save({split: Joined(rows) for split, rows in parts.items()}, out, codec, command)
    return describe(out)


def subset(
    tokens: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    classes: Sequence[str | int] = (),
    split: str | None = None,
    every: int = 1,
    codec: str = "auto",
    command: str = "",
) -> dict[str, Any]:
    """Writes some rows of a token data set as one of their own.

    Args:
        tokens: the token data set.
        out: the folder to write.
        classes: only rows of these classes (names, or numbers); labels keep their numbers.
        split: only this split.
        every: only every n-th image of what is left of each split, from the first on.
        codec: "auto", "zero-order", "context" or "learned".
        command: recorded as the command that made it.

    Returns:
        What `seit info` says of it.

    Raises:
        CodecError: unknown codec.
        StoreError: no such class or split, no rows are left, or `out` exists.
    """
    _check(codec)
    chosen: dict[str, TokenRows] = {}
    for name, rows in _splits(tokens, split).items():
        rows = rows.with_classes(classes) if classes else rows
        chosen[name] = rows.every(every) if every > 1 else rows
    chosen = {name: rows for name, rows in chosen.items() if len(rows)}
    if not chosen:
        raise StoreError("no row is left", os.fspath(tokens), "choose other classes, or another split")
    save(chosen, out, codec, command)
    return describe(out)


def _splits(tokens: str | os.PathLike[str], split: str | None = None) -> dict[str, TokenRows]:
    names = TokenDataset(tokens, split).splits if split is None else [split]
    return {name: TokenDataset(tokens, name) for name in names}


def _check(codec: str) -> None:
    if codec not in codecs.NAMES:
        raise CodecError(f"there is no codec {codec!r}", "--codec", nearest_names(codec, codecs.NAMES))
