"""Which id each code becomes in the mirrored picture, so that training can flip stored ids without the pixels.

The bundled tokenizers' tables lie beside their weights (`scripts/mirror_tables.py` makes them). Another tokenizer's
is counted on ids of the data set, and kept in the user's cache folder if that took long.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seit.files import write_bytes
from seit.progress import progress
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.kept import nearest_kept, reduced

BUNDLED = Path(__file__).parent / "bundled" / "mirror.json"
"""Identity of a bundled tokenizer -> the mirrored code of each of its codes."""

_BATCH_PIXELS = 1 << 20
_WORTH_KEEPING_SECONDS = 1.0


def mirror_table(tokenizer: Tokenizer, ids: np.ndarray, used_codes: Tensor) -> Tensor:
    """Returns, for every stored id, the id that most often stands at the mirrored place of the mirrored picture.

    Depends on its arguments alone, whether the table was counted now, in an earlier call, or for the package. A
    code that occurs nowhere maps to itself.

    Args:
        tokenizer: the one that made the ids; it is left as it is.
        ids: [n, h, w] stored ids, 0..K-1, to count on where the table is not known.
        used_codes: int64 [K], the tokenizer's code of each id.

    Returns:
        int64 [K], on the CPU.
    """
    identity = tokenizer.identity()
    bundled = json.loads(BUNDLED.read_text()).get(identity)
    if bundled is not None:
        return nearest_kept(tokenizer, used_codes.to(tokenizer.codebook.device)).cpu()[bundled][used_codes]
    digest = hashlib.sha256(f"{identity} {ids.shape} {ids.dtype}".encode())
    digest.update(np.ascontiguousarray(ids).tobytes() + used_codes.numpy().tobytes())
    path = _cache() / f"mirror-{digest.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept = np.load(path)
        if kept.shape == used_codes.shape and kept.dtype == np.int64 and 0 <= kept.min() <= kept.max() < len(kept):
            return torch.from_numpy(kept)
    began = time.monotonic()
    table = count_mirrored(reduced(tokenizer, used_codes), ids)
    if time.monotonic() - began > _WORTH_KEEPING_SECONDS:
        file = io.BytesIO()
        np.save(file, table.numpy())
        with contextlib.suppress(OSError):  # nothing is lost but the seconds
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, file.getvalue())
    return table


@torch.inference_mode()
def count_mirrored(tokenizer: Tokenizer, ids: np.ndarray) -> Tensor:
    """Decodes pictures from ids, mirrors and encodes them again, and returns the id most often found for each.

    No original is needed. Of two ids as frequent the lower one is taken; an id that does not occur maps to itself.

    Args:
        tokenizer: its codebook's K codes are the ids.
        ids: [n, h, w], 0..K-1.

    Returns:
        int64 [K], on the CPU.
    """
    codes, pairs = tokenizer.vocabulary, []
    step = max(1, _BATCH_PIXELS // (ids.shape[1] * ids.shape[2] * tokenizer.patch**2))
    with progress(len(ids), "mirror the codes", "pictures") as bar:
        for start in range(0, len(ids), step):
            before = torch.from_numpy(ids[start : start + step].astype(np.int64))
            pictures = tokenizer.decode(before.to(tokenizer.codebook.device))
            after = tokenizer.encode(pictures.flip(-1)).cpu()
            pairs.append((before.flip(-1) * codes + after).flatten().numpy())
            bar.update(len(before))
    pair, count = np.unique(np.concatenate(pairs), return_counts=True)
    order = np.lexsort((-pair, count))  # of the pairs of one code the last is the most frequent, then the lowest
    table = np.arange(codes)
    table[pair[order] // codes] = pair[order] % codes
    return torch.from_numpy(table)


def _cache() -> Path:
    """Returns our folder in the user's cache; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "seit"
