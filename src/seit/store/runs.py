"""Row numbers in little memory: runs of consecutive rows where there are such, else the narrowest integers.

A class of an ImageNet store is one run a split, because stores keep the order of class folders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Runs:
    """Row numbers `start, start + 1, ...` of several runs; index it like the array that it stands for.

    Args:
        starts: int64 [r], the first row of each run.
        lengths: int64 [r], rows of each run, at least 1.
    """

    def __init__(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self.ends = np.cumsum(lengths)
        self.shift = starts - (self.ends - lengths)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return places + self.shift[np.searchsorted(self.ends, places, side="right")]

    def tobytes(self) -> bytes:
        """Returns the runs as bytes, equal only for equal runs."""
        return b"runs" + self.ends.tobytes() + self.shift.tobytes()


def compact(indices: NDArray[np.int64]) -> NDArray[np.integer] | Runs:
    """Returns row numbers, int64 [n] from 0 up, as what takes least memory: 16 bytes a run, or 4 or 8 a row."""
    if not len(indices):
        return indices
    starts = np.concatenate([[0], np.flatnonzero(np.diff(indices) != 1) + 1])
    if 4 * len(starts) <= len(indices):
        return Runs(indices[starts], np.diff(np.append(starts, len(indices))))
    return indices.astype(np.uint32) if indices.max() < 1 << 32 else indices
