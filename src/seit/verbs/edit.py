"""`seit edit`: change what a token data set says of its rows, and seal it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seit.errors import StoreError, nearest_names
from seit.store.describe import describe
from seit.store.publish import publish, rewriting


def edit(
    tokens: str | os.PathLike[str],
    *,
    classes: Mapping[str, str] | None = None,
    name: str | None = None,
    terms: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Renames classes, and changes a data set's name, terms and metadata; no row is touched.

    Args:
        tokens: the folder.
        classes: new names of classes, by their present ones.
        name: of the source.
        terms: of the source.
        metadata: JSON-able values to set by key; None removes a key.

    Returns:
        What `seit info` says of the folder.

    Raises:
        StoreError: no such class, or a reader would refuse the result.
        BusyError: another process writes to the folder.
    """
    with rewriting(tokens) as (data, writing):
        manifest = data.manifest
        renamed = dict(classes or {})
        for old in renamed:
            if old not in manifest.classes:
                raise StoreError(f"no class {old!r}", data.path, nearest_names(old, manifest.classes))
        named = {"name": name, "terms": terms}
        source = manifest.source | {key: text for key, text in named.items() if text is not None}
        changed = replace(
            manifest,
            classes=[renamed.get(old, old) for old in manifest.classes],
            source=source,
            metadata={k: v for k, v in (manifest.metadata | dict(metadata or {})).items() if v is not None},
        )
        publish(Path(tokens), writing, manifest, changed)
    return describe(tokens)
