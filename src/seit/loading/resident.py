"""The whole set in memory as plain ids: decoded once, so that later epochs run at memory speed.

1024 ids take 2 KiB an image: 2.6 GB for ImageNet-1k, against 140 GB of JPEG files. `Resident.plain` goes to a GPU
as it is (`torch.from_numpy(resident.plain)`), where a batch is one indexing operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seit.progress import progress
from seit.store import RowTable, TokenRows
from seit.store.row_sequence import describe_like

_CHUNK = 8192


class Resident(TokenRows):
    """Rows decoded into memory.

    Args:
        base: the rows to decode, once, with progress.

    Attributes:
        plain: [N, h, w] uint16 (uint32 above 65,536 codes).
    """

    def __init__(self, base: TokenRows) -> None:
        self.base = base
        describe_like(self, base)
        size = len(base)
        self.plain = np.empty((size, *base.grid), np.uint16 if base.vocabulary <= 1 << 16 else np.uint32)
        self._labels = base.labels
        with progress(size, "decode", "images") as bar:
            for start in range(0, size, _CHUNK):
                stop = min(start + _CHUNK, size)
                self.plain[start:stop] = base.ids(np.arange(start, stop))
                bar.update(stop - start)

    def __len__(self) -> int:
        return len(self.plain)

    def ids(self, indices: Any) -> np.ndarray:
        return self.plain[self.checked(indices)]

    def labels_at(self, indices: Any) -> np.ndarray | None:
        return None if self._labels is None else self._labels[self.checked(indices)]

    def bytes_at(self, indices: Any) -> np.ndarray:
        return self.base.bytes_at(indices)

    def rows_at(self, indices: Any) -> RowTable:
        return self.base.rows_at(indices)

    def fingerprint(self) -> str:
        return self.base.fingerprint()
