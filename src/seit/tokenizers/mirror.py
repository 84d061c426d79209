"""Which id a code becomes when the picture is mirrored: left-right flips of stored ids without the pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seit.tokenizers.base import Tokenizer
from seit.tokenizers.kept import reduced

_BATCH_PIXELS = 1 << 22


@torch.inference_mode()
def mirror_table(tokenizer: Tokenizer, ids: np.ndarray, used_codes: Tensor) -> Tensor:
    """Returns, for every stored id, the id that most often stands at the mirrored place of the mirrored picture.

    The pictures are decoded from the ids, mirrored and encoded again, so no original is needed. A code that does
    not occur maps to itself.

    Args:
        tokenizer: the one that made the ids; it is left as it is.
        ids: [n, h, w] stored ids, 0..K-1.
        used_codes: int64 [K], the tokenizer's code of each id.

    Returns:
        int64 [K], on the CPU.
    """
    kept = reduced(tokenizer, used_codes)
    size = len(used_codes)
    counts = torch.zeros(size * size, dtype=torch.int64)
    step = max(1, _BATCH_PIXELS // (ids.shape[1] * ids.shape[2] * tokenizer.patch**2))
    for start in range(0, len(ids), step):
        shown = torch.from_numpy(ids[start : start + step].astype(np.int64))
        found = kept.encode(kept.decode(shown.to(kept.codebook.device)).flip(-1)).cpu()
        counts += torch.bincount((shown.flip(-1) * size + found).flatten(), minlength=size * size)
    table = counts.view(size, size)
    return torch.where(table.sum(1) > 0, table.argmax(1), torch.arange(size))
