"""`seit info`: what a token data set holds and what it costs."""

from __future__ import annotations

import os
from typing import Any

from seit.store.describe import describe


def info(tokens: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what a token data set holds: rows, grid, codes, entropy, and where every byte goes.

    Args:
        tokens: the token data set.

    Raises:
        StoreError: there is none, or its manifest is damaged.
    """
    return describe(tokens)
