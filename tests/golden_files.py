"""The golden vectors in tests/golden and the random stream they are made by (see the README there)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, Any]:
    """Returns a golden file; a missing one is an error, never a skip."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def uniform(stream: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns u of a stream, float64 in [0, 1)."""
    key = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    raw = np.random.Philox(key=key).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(40)).astype(np.float64) * 2.0**-24).reshape(shape)


def centred(stream: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns v of a stream, float64 of mean 0 and variance 1."""
    return (uniform(stream, shape) - 0.5) * np.sqrt(12)


def layout_digest(shapes: dict[str, Any]) -> str:
    """Returns the start of the SHA-256 of a key -> shape list, whatever its order."""
    listed = sorted((key, list(shape)) for key, shape in shapes.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
