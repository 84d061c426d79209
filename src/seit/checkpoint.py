"""Checkpoints of an unfinished training: one safetensors file with a JSON header, no pickle, written atomically.

A checksum of the tensors lies in the header, so that damage is found before a weight is touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seit.errors import RunError
from seit.files import atomic


class DamageError(RunError):
    """A file is not a checkpoint, or was cut or changed."""


def save(
    path: str | os.PathLike[str],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any],
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes weights, the optimizer's state, `about` (JSON) and `extra` tensors.

    Args:
        path: the file.
        module: its state dict is kept.
        optimizer: its moments are kept, and the numbers of its groups (LAMB counts its steps there).
        about: where the training stands, and what it is.
        extra: any further tensors.

    Raises:
        RunError: it cannot be written, as on a full disk; what was at `path` is still there.
    """
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    tensors |= {f"extra.{key}": value for key, value in (extra or {}).items()}
    groups = [{key: _number(value) for key, value in group.items()} for group in optimizer.param_groups]
    groups = [{key: value for key, value in group.items() if value is not None} for group in groups]
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    metadata = {"about": json.dumps(about), "groups": json.dumps(groups), "checksum": _checksum(tensors)}
    try:
        with atomic(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"cannot be written ({getattr(error, 'strerror', None) or error})",
            str(path),
            "make room on the disk, then repeat the command: it goes on from the checkpoint before",
        ) from error


def restore(
    path: str | os.PathLike[str], module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Loads what `save` wrote into `module` and `optimizer`; returns (about, extra).

    Raises:
        DamageError: the file is damaged; nothing was loaded.
        RunError: it is of another model.
    """
    about = read_about(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            groups, checksum = json.loads(file.metadata()["groups"]), file.metadata()["checksum"]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _damage(path, str(error)) from error
    if _checksum(tensors) != checksum:
        raise _damage(path, "its checksum differs")
    try:
        module.load_state_dict(_under(tensors, "module."))
        whole = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        whole["state"] = moments
        for group, numbers in zip(whole["param_groups"], groups, strict=False):
            group.update(numbers)
        optimizer.load_state_dict(whole)
        for parameter, state in optimizer.state.items():
            for name, value in state.items():  # in the parameter's own layout, or sums (of LAMB) round otherwise
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise RunError(f"does not fit this training ({first})", str(path), "remove it to start anew") from error
    return about, _under(tensors, "extra.")


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the `about` of a checkpoint without reading its tensors.

    Raises:
        DamageError: the file is damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            return json.loads(file.metadata()["about"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise _damage(path, str(error)) from error


def _damage(path: str | os.PathLike[str], reason: str) -> DamageError:
    return DamageError(f"is not a whole checkpoint ({reason})", str(path), "remove it to start anew")


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Returns a hash of names and bytes."""
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _number(value: Any) -> Any:
    """Returns a number of an optimizer's group as JSON takes it, or None for any other value."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value.item()
    return value if isinstance(value, int | float) else None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
