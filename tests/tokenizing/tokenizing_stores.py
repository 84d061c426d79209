"""Stores compared byte for byte."""

from __future__ import annotations

from pathlib import Path

AS_SHAPES = {"tokenizer": "patch4", "size": 32}


def content(store: Path) -> dict[str, bytes]:
    """Returns every file of a store."""
    return {path.name: path.read_bytes() for path in store.iterdir()}
