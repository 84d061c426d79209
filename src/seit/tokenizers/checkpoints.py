"""Opens the checkpoint files of others as they are published: which family, which sizes, which keys.

Sizes are inferred from keys and shapes; a configuration beside the file (YAML or JSON, as published) adds what they
do not tell and must agree with what they do. Strict: every missing and every unexpected key is named, by the file's
own names; keys that only the training needs are skipped by rule.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seit.errors import TokenizerError
from seit.tokenizers import pickles
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.configurations import find_config
from seit.tokenizers.layouts import Layout, layout_of

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
# Loss networks, LlamaGen's usage counter, and the moving averages that Lightning keeps beside the weights.
_TRAINING_ONLY = re.compile(r"(loss\.|model_ema\.|quantize\.codebook_used$)")
_FIRST_STAGE = "first_stage_model."


def open_checkpoint(path: str | os.PathLike[str]) -> Tokenizer:
    """Opens an original checkpoint file of ViT-VQGAN, taming, latent diffusion or LlamaGen.

    Args:
        path: .ckpt, .pt, .pth, .bin or .safetensors; from a full latent-diffusion file the first stage is taken.

    Returns:
        The tokenizer in float32, on the CPU.

    Raises:
        TokenizerError: no known family, a key missing or too many, a shape that does not fit, a configuration
            beside it that says otherwise, or a damaged file.
    """
    path = Path(path)
    weights = read_weights(path)
    layout = layout_of(weights, find_config(path), path)
    return build(layout, weights, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the inference weights of a checkpoint file by their published keys.

    Raises:
        TokenizerError: the file is damaged, or holds no named tensors.
    """
    _refuse_other_files(path)
    if path.suffix == ".safetensors":
        try:
            found: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise TokenizerError(f"is a damaged safetensors file ({error})", str(path), "get it again") from error
        return for_inference(found)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception:  # on foreign classes and on damaged bytes torch raises nearly anything
        found, fetch = pickles.read(path)
        chosen = for_inference(_weights_in(found, path, pickles.Stored))
        return {key: fetch(value) for key, value in chosen.items()}
    return for_inference(_weights_in(found, path, Tensor))


def build(layout: Layout, weights: Mapping[str, Tensor], path: Path) -> Tokenizer:
    """Builds the layout's tokenizer around `weights`, without filling it twice.

    Raises:
        TokenizerError: see `open_checkpoint`.
    """
    try:
        with torch.device("meta"):
            tokenizer = layout.family(**layout.config, preprocessing=layout.preprocessing, name=str(path))
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise TokenizerError(f"its sizes make no {layout.family.family} ({error})", str(path)) from error
    expected = {layout.published(key): (key, value.shape) for key, value in tokenizer.state_dict().items()}
    missing, unexpected = sorted(expected.keys() - weights), sorted(weights.keys() - expected.keys())
    wrong = [
        f"{key} is {list(weights[key].shape)} instead of {list(shape)}"
        for key, (_, shape) in expected.items()
        if key in weights and weights[key].shape != shape
    ]
    if missing or unexpected or wrong:
        said = [f"missing keys: {', '.join(missing)}"] if missing else []
        said += [f"unexpected keys: {', '.join(unexpected)}"] if unexpected else []
        said += [f"shapes: {', '.join(wrong)}"] if wrong else []
        raise TokenizerError(
            f"does not fit {layout.family.family}: {'; '.join(said)}", str(path), "compare it with its source"
        )
    for key in expected:
        if not weights[key].is_meta and not torch.isfinite(weights[key]).all():
            raise TokenizerError(f"{key} holds numbers that are not finite", str(path), "get the file again")
    tokenizer.load_state_dict({ours: weights[key].float() for key, (ours, _) in expected.items()}, assign=True)
    return tokenizer.requires_grad_(False).eval()


def _weights_in(found: Any, path: Path, kind: type) -> dict[str, Any]:
    """Returns the dict of tensors (of `kind`) inside a checkpoint's object."""
    if not isinstance(found, Mapping):
        named = f" ({found.name})" if isinstance(found, pickles.Foreign) else ""
        raise TokenizerError(
            f"is a whole pickled object{named}, which only running its code would open",
            str(path),
            "save its state_dict instead: torch.save(model.state_dict(), ...)",
        )
    for key in ("ema", "model", "state_dict"):
        inner = found.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, kind) for value in inner.values()):
            found = inner
            break
    weights = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, kind)}
    if not weights:
        raise TokenizerError("holds no named tensors", str(path), "give a checkpoint with a state_dict")
    return weights


def for_inference(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out wrappers' prefixes and what only the training needs."""
    if any(key.startswith(_FIRST_STAGE) for key in weights):
        weights = {k.removeprefix(_FIRST_STAGE): v for k, v in weights.items() if k.startswith(_FIRST_STAGE)}
    if all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    return {key: value for key, value in weights.items() if not _TRAINING_ONLY.match(key)}


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _refuse_other_files(path: Path) -> None:
    """Calls a web page and a Git LFS pointer what they are.

    Raises:
        TokenizerError: the file is one of them, or absent.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(64).lstrip().lower()
    except OSError as error:
        raise TokenizerError(f"cannot be read ({error.strerror})", str(path), "check the path") from error
    if start.startswith((b"<!doctype", b"<html")):
        raise TokenizerError("is a web page, not a checkpoint", str(path), "download the file behind that page")
    if start.startswith(b"version https://git-lfs"):
        raise TokenizerError("is a Git LFS pointer, not a checkpoint", str(path), "run `git lfs pull`")
