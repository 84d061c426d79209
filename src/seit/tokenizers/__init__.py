"""image <-> ids. `load` opens a tokenizer; `base.py` is the contract; a family is one file.

Ours: `conv` (bundled). Others': `vit_vqgan`, `vqgan`, `diffusers_vq`; `checkpoints` opens their published files,
`hub` fetches them. A package of somebody else's adds a family under the entry point group `seit.tokenizers`.
"""

from __future__ import annotations

import importlib.metadata
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
from seit.tokenizers.checkpoints import open_checkpoint
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.diffusers_vq import DiffusersVQ
from seit.tokenizers.hub import fetch, is_hub_id
from seit.tokenizers.vit_vqgan import ViTVQGAN
from seit.tokenizers.vqgan import VQGAN

_FAMILIES: dict[str, type[Tokenizer]] = {
    family.family: family for family in (ConvTokenizer, ViTVQGAN, VQGAN, DiffusersVQ)
}
_BUNDLED = Path(__file__).parent / "bundled"
_WEIGHTS = "model.safetensors"  # of a folder of ours
_GROUP = "seit.tokenizers"

__all__ = ["Tokenizer", "bundled", "card", "load", "save"]


def bundled() -> list[str]:
    """Returns the names of the tokenizers inside the package."""
    return sorted(path.stem for path in _BUNDLED.glob("*.safetensors"))


def load(name: str | os.PathLike[str], device: str | torch.device = "cpu", *, download: bool = True) -> Tokenizer:
    """Opens a tokenizer, frozen and in float32.

    Args:
        name: a bundled name ("patch8", "patch4"); a file or folder that `save` or `seit tokenizer convert` wrote;
            an original checkpoint of ViT-VQGAN, taming, latent diffusion or LlamaGen; a folder of diffusers'
            VQModel; a family of another package; or a hub id, `owner/name[/file][@revision]`.
        device: where its weights shall be.
        download: whether a hub id may be fetched; False for a name that the user did not write.

    Raises:
        TokenizerError: unknown name (near misses named), damaged file, or no weights that fit.
    """
    path, pinned = _find(name, download)
    if path is None:
        tokenizer = _family(str(name), "")(name=str(name))  # type: ignore[call-arg]
    elif path.is_dir():
        tokenizer = DiffusersVQ.open(path)
    elif _description(path) is not None:
        tokenizer = _open_ours(path)
    else:
        tokenizer = open_checkpoint(path)
        tokenizer.name = os.fspath(name)
    tokenizer.name = pinned or tokenizer.name
    return tokenizer.requires_grad_(False).eval().to(device)


def card(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what was recorded about a tokenizer when it was made: command, data, quality; {} if nothing was.

    Raises:
        TokenizerError: there is no such tokenizer.
    """
    path, _ = _find(name, download=False)
    described = _description(path) if path is not None and path.is_file() else None
    return described["card"] if described else {}


def save(tokenizer: Tokenizer, path: str | os.PathLike[str], card: dict[str, Any]) -> None:
    """Writes a tokenizer as one safetensors file: its weights, and description and card in the header.

    What is loaded again is exactly what was saved: a weight is stored as float16 where that loses nothing (the
    bundled ones are rounded when they are trained), else as it is.
    """
    described = {
        "family": tokenizer.family,
        "name": tokenizer.name,
        "config": tokenizer.config(),
        "preprocessing": tokenizer.preprocessing,
        "card": card,
    }
    weights = {key: _shortened(value.detach().cpu()) for key, value in tokenizer.state_dict().items()}
    write_bytes(path, to_safetensors(weights, {"seit": json.dumps(described)}))


def _shortened(value: torch.Tensor) -> torch.Tensor:
    """Returns a float32 tensor as float16 if that is exact."""
    exact = value.dtype == torch.float32 and torch.equal(value.half().float(), value)
    return (value.half() if exact else value).contiguous()


def _find(name: str | os.PathLike[str], download: bool) -> tuple[Path | None, str]:
    """Returns the file or folder behind a name (None: another package's family) and a hub id's pinned name."""
    text = os.fspath(name)
    if text in bundled():
        return _BUNDLED / f"{text}.safetensors", ""
    path, pinned = Path(text), ""
    if not path.exists():
        others = {entry.name for entry in importlib.metadata.entry_points(group=_GROUP)}
        if text in others:
            return None, ""
        if not isinstance(name, str) or not is_hub_id(text):
            raise TokenizerError(f"there is no tokenizer {text!r}", cure=nearest_names(text, [*bundled(), *others]))
        path, pinned = fetch(text, download=download)
    if path.is_file():
        return path, pinned
    return _inside(path), pinned


def _inside(folder: Path) -> Path:
    """Returns the weights in a folder of ours or of taming's, or the folder if it is diffusers'.

    Raises:
        TokenizerError: it is neither.
    """
    for file in (_WEIGHTS, "ckpts/last.ckpt", "checkpoints/last.ckpt", "model.ckpt"):
        if (folder / file).is_file():
            return folder / file
    config = folder / "config.json"
    if config.is_file() and b'"VQModel"' in config.read_bytes():
        return folder
    raise TokenizerError(
        f"is a folder without {_WEIGHTS}", str(folder), "give the checkpoint file, or `seit tokenizer convert` it"
    )


def _description(path: Path) -> dict[str, Any] | None:
    """Returns what `save` wrote into the header, or None if it did not write the file."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("seit")
        return None if text is None else json.loads(text)
    except (SafetensorError, ValueError, OSError) as error:
        raise TokenizerError(f"is a damaged safetensors file ({error})", str(path), "get it again") from error


def _open_ours(path: Path) -> Tokenizer:
    """Opens a file that `save` wrote."""
    described = _description(path) or {}
    try:
        family = _family(described["family"], str(path))
        with safe_open(path, framework="pt") as file:
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        weights = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
        # Only ours are known to have no tensor that the weights do not fill.
        with torch.device("meta" if family in _FAMILIES.values() else "cpu"):
            tokenizer = family(  # type: ignore[call-arg]
                **described["config"], preprocessing=described["preprocessing"], name=described["name"]
            )
        tokenizer.load_state_dict(weights, assign=True)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise TokenizerError(
            f"is not a tokenizer of ours ({error})", str(path), "write it with `seit tokenizer train`"
        ) from error
    return tokenizer


def _family(name: str, where: str) -> type[Tokenizer]:
    """Returns a family's class: ours, or another package's by its entry point.

    Raises:
        TokenizerError: there is none of that name, or its package does not give a tokenizer.
    """
    if name in _FAMILIES:
        return _FAMILIES[name]
    entries = importlib.metadata.entry_points(group=_GROUP, name=name)
    if not entries:
        raise TokenizerError(
            f"is of the family {name!r}, which no installed package has", where, "install the package that made it"
        )
    found = next(iter(entries)).load()
    if not (isinstance(found, type) and issubclass(found, Tokenizer)):
        raise TokenizerError(f"the entry point {name!r} of {_GROUP} is no subclass of Tokenizer", where)
    return found
