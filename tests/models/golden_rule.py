"""Weights and ids of the official SeiT models by the rule in tests/golden/README.md."""

from __future__ import annotations

import numpy as np
import torch
from golden_files import centred, uniform

SEED = "open"


def weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Returns a tensor of the SeiT models by rule."""
    v = centred(f"{SEED}:{key}", shape)
    if key in ("cls_token", "pos_embed"):
        v = 0.5 * v
    elif len(shape) > 1:
        v = v / np.sqrt(np.prod(shape[1:]))
    else:
        v = 0.1 * v + (0 if key.endswith("bias") else 1)
    return torch.from_numpy(v.astype(np.float32))


def tokens(rows: int, vocabulary: int) -> torch.Tensor:
    """Returns ids [rows, 32, 32]."""
    u = uniform(f"{SEED}:tokens", (rows, 32, 32))
    return torch.from_numpy(np.minimum(np.floor(u * u * vocabulary), vocabulary - 1).astype(np.int64))


def codebook(vocabulary: int, width: int) -> torch.Tensor:
    """Returns [vocabulary, width] float32."""
    return torch.from_numpy(centred(f"{SEED}:codebook{vocabulary}x{width}", (vocabulary, width)).astype(np.float32))


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
