"""`seit info`: what a token data set holds and what it costs."""

from __future__ import annotations

import os
from typing import Any

from seit.store import TokenDataset
from seit.store.describe import describe, per_class


def info(tokens: str | os.PathLike[str], *, classes: bool = False) -> dict[str, Any]:
    """Returns what a token data set holds: rows, grid, codes, entropy, and where every byte goes.

    Args:
        tokens: the token data set.
        classes: measure each class as well (`per_class`), which decodes every row.

    Raises:
        StoreError: there is none, its manifest is damaged, or it has no labels to tell classes by.
    """
    about = describe(tokens)
    return {**about, "per_class": per_class(TokenDataset(tokens))} if classes else about
