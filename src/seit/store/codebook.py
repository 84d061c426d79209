"""The stored codebook: which codes of the tokenizer occur, and their vectors.

Paper, section 3.1: of ViT-VQGAN's 8192 codes 391 occur, so a store keeps those and numbers them anew. The manifest
lists the codes as ranges ("0-254,300"): entry k of that list is the tokenizer's code of stored id k.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from seit import files
from seit.errors import StoreError


def write(path: Path, codebook: np.ndarray) -> None:
    """Writes the vectors, float32 [K, d].

    Vectors that float16 holds exactly, as those of the bundled tokenizers, are stored so: half the bytes.
    """
    vectors = np.ascontiguousarray(codebook, np.float32)
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    files.write_bytes(path, save({"codebook": half if np.array_equal(half, vectors) else vectors}))


def read(path: Path, vocabulary: int) -> np.ndarray:
    """Returns the vectors, float32 [K, d].

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the file is damaged, or of another vocabulary than the manifest's.
    """
    try:
        vectors = load_file(path).get("codebook")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise StoreError(f"cannot be read ({str(error)[:120]})", str(path), "run seit repair") from None
    good = vectors is not None and vectors.dtype in (np.float16, np.float32)
    if vectors is None or not good or vectors.ndim != 2 or len(vectors) != vocabulary:
        raise StoreError(f"does not hold the vectors of {vocabulary} used codes", str(path), "run seit repair")
    return vectors.astype(np.float32)


def entropy(counts: np.ndarray) -> float:
    """Returns H0 of the counts in bits per id (paper, section 3.1, footnote 2)."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(max(0.0, -(share * np.log2(share)).sum()))


def to_ranges(codes: np.ndarray) -> str:
    """Writes a list of codes as ranges: [0, 1, 2, 7] is "0-2,7"."""
    if not len(codes):
        return ""
    runs = np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def from_ranges(text: str, full_vocabulary: int) -> np.ndarray:
    """Reads what `to_ranges` wrote, int32 [K].

    Raises:
        ValueError: it is no list of ranges, or a code is out of range or repeated.
    """
    total, runs = 0, []
    for item in text.split(",") if text else []:
        first, _, last = item.partition("-")
        low, high = int(first), int(last or first)
        total += high - low + 1
        if not 0 <= low <= high < full_vocabulary or total > full_vocabulary:
            raise ValueError(f"range {item[:40]!r}")
        runs.append(np.arange(low, high + 1, dtype=np.int32))
    codes = np.concatenate(runs) if runs else np.zeros(0, np.int32)
    if len(np.unique(codes)) != len(codes):
        raise ValueError("a code occurs twice")
    return codes
