"""The stored codebook: which codes of the tokenizer occur, how often, and their vectors.

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

NAME = "codebook.safetensors"


def write(path: Path, counts: np.ndarray, codebook: np.ndarray | None) -> None:
    """Writes `counts` int64 [K], how often each stored id occurs, and `codebook` float32 [K, d] if known.

    Vectors that float16 holds exactly, as those of the bundled tokenizers, are stored so: half the bytes.
    """
    tensors: dict[str, np.ndarray] = {"counts": np.ascontiguousarray(counts, np.int64)}
    if codebook is not None:
        vectors = np.ascontiguousarray(codebook, np.float32)
        with np.errstate(over="ignore"):
            half = vectors.astype(np.float16)
        tensors["codebook"] = half if np.array_equal(half, vectors) else vectors
    files.write_bytes(path, save(tensors))


def read(path: Path, vocabulary: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns counts int64 [K] and codebook float32 [K, d] or None.

    Raises:
        StoreError: the file is absent, damaged, or of another vocabulary than the manifest's.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise StoreError("is missing", str(path), "run seit repair, or copy the data set again") from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise StoreError(f"cannot be read ({str(error)[:120]})", str(path), "run seit repair") from None
    counts, vectors = tensors.get("counts"), tensors.get("codebook")
    good = counts is not None and counts.dtype == np.int64 and counts.shape == (vocabulary,)
    if good and vectors is not None:
        good = vectors.dtype in (np.float16, np.float32) and vectors.ndim == 2 and len(vectors) == vocabulary
    if not good or counts is None:
        raise StoreError(f"does not describe {vocabulary} used codes", str(path), "run seit repair")
    return counts, None if vectors is None else vectors.astype(np.float32)


def has_vectors(size: int, vocabulary: int) -> bool:
    """Says from its size alone whether a codebook file, which may be damaged, held vectors."""
    return size != len(save({"counts": np.zeros(vocabulary, np.int64)}))


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
