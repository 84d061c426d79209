"""The configuration beside a published checkpoint: found, read, and turned into our constructors' arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seit.errors import TokenizerError

_MOST_BYTES = 1 << 20


def find_config(path: Path) -> dict[str, Any]:
    """Returns the parameters in the configuration beside a checkpoint, {} without one.

    Looked for, in this order: the checkpoint's own name with .yaml, .yml or .json; config and model in its folder
    and in `../configs`; Lightning's `*project.yaml` there.

    Args:
        path: the checkpoint.

    Returns:
        `model.params` of a published YAML (of its first stage in a full latent-diffusion one), or the JSON object.

    Raises:
        TokenizerError: the first one found cannot be read, or names something we do not have.
    """
    for found in _candidates(path):
        parameters = _parameters(_read(found))
        if parameters:
            _refuse_unsupported(parameters, found)
            return parameters
    return {}


def _candidates(path: Path) -> Iterator[Path]:
    """Yields the existing files that may be the configuration."""
    endings = (".yaml", ".yml", ".json")
    yield from filter(Path.is_file, (path.with_suffix(ending) for ending in endings))
    for folder in (path.parent, path.parent.parent / "configs"):
        yield from filter(
            Path.is_file, (folder / f"{stem}{end}" for stem in ("config", "model") for end in endings)
        )
        yield from sorted(folder.glob("*project.yaml"))


def _read(path: Path) -> Any:
    """Reads a YAML or JSON file as plain data."""
    import yaml

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
        text = path.read_text("utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, OSError, RecursionError, yaml.YAMLError) as error:
        raise TokenizerError(
            f"cannot be read as a configuration ({error})", str(path), "mend or move it"
        ) from error


def _parameters(config: Any) -> dict[str, Any]:
    """Returns the tokenizer's parameters in a configuration, {} if it is of something else."""
    for step in ("model", "params"):
        if isinstance(config, dict) and isinstance(config.get(step), dict):
            config = config[step]
    if isinstance(config, dict) and isinstance(config.get("first_stage_config"), dict):
        config = config["first_stage_config"].get("params")
    known = {"ddconfig", "quantizer", "codebook_size", "codebook_l2_norm"}
    return config if isinstance(config, dict) and known & config.keys() else {}


def _refuse_unsupported(parameters: dict[str, Any], path: Path) -> None:
    """Names a setting that changes the model without changing its keys.

    Raises:
        TokenizerError: there is one.
    """
    convolutional, quantizer = parameters.get("ddconfig") or {}, parameters.get("quantizer") or {}
    asked = {
        "double_z": convolutional.get("double_z"),
        "tanh_out": convolutional.get("tanh_out"),
        "attn_type linear": convolutional.get("attn_type") == "linear",
        "remap": parameters.get("remap"),
        "use_residual": quantizer.get("use_residual"),
    }
    for setting, wanted in asked.items():
        if wanted:
            raise TokenizerError(f"asks for {setting}, which no published tokenizer has", str(path))
