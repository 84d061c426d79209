"""The stored codebook: the vectors of the used codes, and which tokenizer code each of them is.

Paper, section 3.1: of ViT-VQGAN's 8192 codes 391 occur, so a store keeps those and numbers them anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from seit import files
from seit.errors import StoreError

NAME = "codebook.safetensors"


def write(path: Path, used_codes: np.ndarray, codebook: np.ndarray | None) -> None:
    """Writes `used_codes` int32 [K] and `codebook` float32 [K, d] (absent if None)."""
    tensors = {"used_codes": np.ascontiguousarray(used_codes, np.int32)}
    if codebook is not None:
        tensors["codebook"] = np.ascontiguousarray(codebook, np.float32)
    files.write_bytes(path, save(tensors))


def read(path: Path, vocabulary: int, full_vocabulary: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns used_codes int32 [K] and codebook float32 [K, d] or None.

    Raises:
        StoreError: the file is absent, damaged, or of another vocabulary than the manifest's.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise StoreError("is missing", str(path), "run seit repair, or copy the data set again") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(f"cannot be read ({str(error)[:120]})", str(path), "run seit repair") from None
    used, vectors = tensors.get("used_codes"), tensors.get("codebook")
    good = used is not None and used.dtype == np.int32 and used.shape == (vocabulary,)
    if good and used is not None:
        good = len(np.unique(used)) == vocabulary and bool(((used >= 0) & (used < full_vocabulary)).all())
    if good and vectors is not None:
        good = vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == vocabulary
    if not good or used is None:
        raise StoreError(f"does not describe {vocabulary} used codes", str(path), "run seit repair")
    return used, vectors
