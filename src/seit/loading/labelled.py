"""Rows that a training can use: those with a label, counted before the first step."""

from __future__ import annotations

import numpy as np

from seit.errors import RunError
from seit.images.account import some
from seit.store import TokenRows


def labelled(rows: TokenRows, where: str, *, skip: bool) -> TokenRows:
    """Returns the rows that have a label; of rows with several classes each has.

    Args:
        rows: of a token data set.
        where: what an error calls it.
        skip: leave out rows without a label, instead of refusing them.

    Raises:
        RunError: rows have no label and are not to be skipped, or none has one.
    """
    labels = rows.labels
    if labels is None or labels.ndim > 1:
        return rows
    missing = np.flatnonzero(labels < 0)
    if len(missing) == len(rows) or (len(missing) and not skip):
        names = some(rows.names(missing[:3])) + (", ..." if len(missing) > 3 else "")
        what = f"{len(missing):,} of {len(rows):,} rows have no label ({names})"
        raise RunError(what, where, "label them and tokenize again, or leave them out: --on-error skip")
    return rows.with_classes(rows.classes) if len(missing) else rows
