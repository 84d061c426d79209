"""Weights and images of the tokenizers by the rule in tests/golden/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import published_layouts
import torch
from golden_files import centred, golden, uniform

TABLES = ("quantizer.embedding.weight", "quantize.embedding.weight", "quantize.embed.weight")
TOYS = (
    "toy-vitvq",
    "toy-vitvq-rect",
    "toy-vitvq-onehead",
    "toy-taming",
    "toy-taming-attn-mid-level",
    "toy-gumbel",
    "toy-ldm",
    "toy-ldm-noattn",
    "toy-llamagen",
    "toy-llamagen-euclid",
)
FULL = tuple(published_layouts.LAYOUTS)


def weight(seed: str, key: str, shape: tuple[int, ...], codebook: dict[str, Any] | None = None) -> np.ndarray:
    """Returns a tensor of the rule, float32."""
    v = centred(f"{seed}:{key}", shape)
    if key in TABLES:
        assert codebook is not None
        v = np.asarray(codebook["shift"]) + codebook["scale"] * v
    elif len(shape) > 1:
        v = v / np.sqrt(np.prod(shape[1:]))
    else:
        v = 0.1 * v if key.endswith("bias") else 1 + 0.1 * v
    return v.astype(np.float32)


def image(seed: str, index: int, height: int, width: int) -> torch.Tensor:
    """Returns image number `index` [1, 3, height, width] in [0, 1)."""
    coarse = uniform(f"{seed}:image{index}:coarse", (3, -(-height // 16), -(-width // 16)))
    coarse = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]
    fine = uniform(f"{seed}:image{index}:fine", (3, height, width))
    return torch.from_numpy((0.5 * coarse + 0.5 * fine).astype(np.float32))[None]


def sincos(file: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a ViT's table of positions, written down cell by cell from the fact sheet."""
    size, patch = file["config"]["image_size"], file["config"]["patch_size"]
    columns = (size if isinstance(size, int) else size[1]) // patch
    quarter = shape[2] // 4
    table = np.empty(shape, np.float64)
    for cell in range(shape[1]):
        row, column = divmod(cell, columns)
        for k in range(quarter):
            rate = 10000 ** (-k / quarter)
            angles = (np.sin(column * rate), np.cos(column * rate), np.sin(row * rate), np.cos(row * rate))
            table[0, cell, k::quarter] = angles
    return table.astype(np.float32)


def weights(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Returns a golden file and its state dict, under the published keys."""
    file = golden(name)
    shapes = file.get("tensors") or published_layouts.shapes(file["config"])
    state = {}
    for key, shape in shapes.items():
        if key.endswith("pos_embedding"):
            state[key] = torch.from_numpy(sincos(file, key, tuple(shape)))
        else:
            state[key] = torch.from_numpy(weight(file["seedword"], key, tuple(shape), file["codebook"]))
    return file, state


def original_file(name: str, folder: Path, with_config: bool = True) -> tuple[dict[str, Any], Path]:
    """Writes a golden tokenizer as its project would, with its configuration beside it; returns both."""
    file, state = weights(name)
    inside = "model" if name.startswith(("llamagen", "toy-llamagen")) else "state_dict"
    path = folder / "weights.ckpt"
    torch.save({inside: state, "epoch": 7, "global_step": 12345}, path)
    if with_config:
        config = {key: value for key, value in file["config"].items() if key != "family"}
        path.with_suffix(".json").write_text(json.dumps(config))
    return file, path
