"""The rule by which shared/golden makes weights and tokens, as its README states it; and the file itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SHARED = Path(__file__).parents[2].parent / "shared"
SEED = "open"


def golden() -> dict[str, Any]:
    """Returns seit-model.json; skips the test where it is absent."""
    path = SHARED / "golden" / "seit-model.json"
    if not path.is_file():
        pytest.skip("the golden vectors are not beside this checkout")
    return json.loads(path.read_text())


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns u of the stream, float64."""
    key = int.from_bytes(hashlib.sha256(f"{SEED}:{name}".encode()).digest()[:8], "little")
    raw = np.random.Philox(key=key).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(40)).astype(np.float64) * 2.0**-24).reshape(shape)


def centred(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns v of the stream, float64 of mean 0 and variance 1."""
    return (uniform(name, shape) - 0.5) * np.sqrt(12)


def weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Returns a tensor of the SeiT models by rule."""
    v = centred(key, shape)
    if key in ("cls_token", "pos_embed"):
        v = 0.5 * v
    elif len(shape) > 1:
        v = v / np.sqrt(np.prod(shape[1:]))
    else:
        v = 0.1 * v + (0 if key.endswith("bias") else 1)
    return torch.from_numpy(v.astype(np.float32))


def tokens(rows: int, vocabulary: int) -> torch.Tensor:
    """Returns ids [rows, 32, 32]."""
    u = uniform("tokens", (rows, 32, 32))
    return torch.from_numpy(np.minimum(np.floor(u * u * vocabulary), vocabulary - 1).astype(np.int64))


def codebook(vocabulary: int, width: int) -> torch.Tensor:
    """Returns [vocabulary, width] float32."""
    return torch.from_numpy(centred(f"codebook{vocabulary}x{width}", (vocabulary, width)).astype(np.float32))


def vit_state(width: int, channels: int) -> dict[str, torch.Tensor]:
    """Returns the state dict of an official SeiT ViT under its own key names."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, channels, 4, 4),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (1000, width),
        "head.bias": (1000,),
    }
    for block in range(12):
        for name, shape in {
            "norm1": (width,),
            "norm2": (width,),
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
        }.items():
            shapes[f"blocks.{block}.{name}.weight"] = shape
            shapes[f"blocks.{block}.{name}.bias"] = shape[:1]
    return {key: weight(key, shape) for key, shape in shapes.items()}


def close(found: float, expected: float) -> bool:
    """Says whether a number agrees as the golden README asks: 1e-4, relative or absolute."""
    return abs(found - expected) <= 1e-4 * max(1.0, abs(expected))
