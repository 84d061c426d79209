"""image <-> ids. `load` opens a tokenizer; `base.py` is the contract; a family is one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from seit.errors import TokenizerError, nearest_names
from seit.files import write_bytes
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.conv import ConvTokenizer

_FAMILIES: dict[str, type[Tokenizer]] = {ConvTokenizer.family: ConvTokenizer}
_BUNDLED = Path(__file__).parent / "bundled"

__all__ = ["Tokenizer", "bundled", "card", "load", "save"]


def bundled() -> list[str]:
    """Returns the names of the tokenizers inside the package."""
    return sorted(path.stem for path in _BUNDLED.glob("*.safetensors"))


def load(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> Tokenizer:
    """Opens a tokenizer, frozen and in float32.

    Args:
        name: a bundled name ("patch8", "patch4") or the path of a file that `save` wrote.
        device: where its weights shall be.

    Raises:
        TokenizerError: unknown name (near misses named) or damaged file.
    """
    path = _find(name)
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["seit"])
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        family = _FAMILIES[described["family"]]
        tokenizer = family(**described["config"], preprocessing=described["preprocessing"], name=described["name"])
        tokenizer.load_state_dict(weights)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise TokenizerError(
            f"is not a tokenizer of ours ({error})", str(path), "write it with `seit tokenizer train`"
        ) from error
    return tokenizer.requires_grad_(False).eval().to(device)


def card(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what was recorded about a tokenizer when it was trained: command, data, quality."""
    with safe_open(_find(name), framework="np") as file:
        return json.loads(file.metadata()["seit"])["card"]


def save(tokenizer: Tokenizer, path: str | os.PathLike[str], card: dict[str, Any]) -> None:
    """Writes a tokenizer as one safetensors file: float16 weights, description and card in its header.

    The float16 rounding is part of the tokenizer: what is loaded is what was evaluated.
    """
    described = {
        "family": tokenizer.family,
        "name": tokenizer.name,
        "config": tokenizer.config(),
        "preprocessing": tokenizer.preprocessing,
        "card": card,
    }
    weights = {key: value.detach().cpu().half().contiguous() for key, value in tokenizer.state_dict().items()}
    write_bytes(path, to_safetensors(weights, {"seit": json.dumps(described)}))


def _find(name: str | os.PathLike[str]) -> Path:
    """Returns the file of a bundled name or a path."""
    if str(name) in bundled():
        return _BUNDLED / f"{name}.safetensors"
    path = Path(name)
    if path.is_file():
        return path
    raise TokenizerError(f"there is no tokenizer {str(name)!r}", cure=nearest_names(str(name), bundled()))
