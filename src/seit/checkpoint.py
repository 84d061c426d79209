"""Snapshots of an unfinished training: one safetensors file, no pickle, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seit.errors import RunError
from seit.files import atomic


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
    """
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    tensors |= {f"extra.{key}": value for key, value in (extra or {}).items()}
    groups = [{key: _number(value) for key, value in group.items()} for group in optimizer.param_groups]
    groups = [{key: value for key, value in group.items() if value is not None} for group in groups]
    metadata = {"about": json.dumps(about), "groups": json.dumps(groups)}
    with atomic(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata)


def restore(
    path: str | os.PathLike[str], module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Loads what `save` wrote into `module` and `optimizer`; returns (about, extra).

    Raises:
        RunError: the file is damaged or of another model.
    """
    about = read_about(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            groups = json.loads(file.metadata().get("groups", "[]"))
        module.load_state_dict(_under(tensors, "module."))
        described = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        described["state"] = moments
        for group, numbers in zip(described["param_groups"], groups, strict=False):
            group.update(numbers)
        optimizer.load_state_dict(described)
        for parameter, state in optimizer.state.items():
            for name, value in state.items():  # in the parameter's own layout, or sums (of LAMB) round otherwise
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise RunError(f"does not fit this training ({first})", str(path), "remove it to start anew") from error
    return about, _under(tensors, "extra.")


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the `about` of a snapshot without reading its tensors.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            return json.loads(file.metadata()["about"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"is not a snapshot of ours ({error})", str(path), "remove it to start anew") from error


def _number(value: Any) -> Any:
    """Returns a number of an optimizer's group as JSON takes it, or None for what is none."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value.item()
    return value if isinstance(value, int | float) else None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
