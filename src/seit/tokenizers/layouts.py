"""How each family's published checkpoints are laid out: its keys, and its sizes as the shapes tell them."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seit.errors import TokenizerError
from seit.tokenizers.base import Tokenizer, channels_of
from seit.tokenizers.vit_vqgan import ViTVQGAN, positions
from seit.tokenizers.vqgan import VQGAN

_TAMING = {"codebook": "quantize.embedding.weight"}
_GUMBEL = {
    "codebook": "quantize.embed.weight",
    "proj.weight": "quantize.proj.weight",
    "proj.bias": "quantize.proj.bias",
}
_VIT = {"codebook": "quantizer.embedding.weight"}
_LLAMAGEN = (
    (r"\.down\.(\d+)\.block\.", r".conv_blocks.\1.res."),
    (r"\.down\.(\d+)\.", r".conv_blocks.\1."),
    (r"\.mid\.block_1\.", ".mid.0."),
    (r"\.mid\.attn_1\.", ".mid.1."),
    (r"\.mid\.block_2\.", ".mid.2."),
)


@dataclass(frozen=True)
class Layout:
    """What a checkpoint is.

    Attributes:
        family: the class to build.
        config: its arguments.
        preprocessing: SeiT's, at the size that the configuration states.
        published: our key -> the file's key.
    """

    family: type[Tokenizer]
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    published: Callable[[str], str]


def layout_of(weights: Mapping[str, Tensor], stated: Mapping[str, Any], path: Path) -> Layout:
    """Recognises a checkpoint by its keys and reads its sizes off its shapes.

    Args:
        weights: the inference weights by their published keys; values are looked at for a ViT's positions only.
        stated: what `find_config` returns.
        path: what errors call the file.

    Raises:
        TokenizerError: no known family, a key that tells a size is missing, or `stated` says otherwise.
    """
    shapes = _Shapes(weights, path)
    family: type[Tokenizer] = VQGAN
    if "encoder.to_patch_embedding.0.weight" in weights:
        family, published = ViTVQGAN, functools.partial(_renamed, _VIT)
        config, said = _vit_sizes(shapes, stated), _vit_stated(stated)
    elif "encoder.conv_blocks.0.res.0.conv1.weight" in weights:
        levels = len({key.split(".")[2] for key in weights if key.startswith("encoder.conv_blocks.")})
        published = functools.partial(_llamagen_name, levels)
        search = "cosine" if stated.get("codebook_l2_norm", True) else "euclidean"
        config, said = _convolutional_sizes(shapes, published, search), _llamagen_stated(stated)
    elif "encoder.down.0.block.0.conv1.weight" in weights:
        search = "gumbel" if "quantize.embed.weight" in weights else "euclidean"
        published = functools.partial(_renamed, _GUMBEL if search == "gumbel" else _TAMING)
        config, said = _convolutional_sizes(shapes, published, search), _taming_stated(stated)
    else:
        raise TokenizerError(
            f"its keys ({', '.join(sorted(weights)[:3])}, ...) are of no family that we know",
            str(path),
            "known: ViT-VQGAN, taming VQGAN, latent-diffusion VQ, LlamaGen VQ; a folder of diffusers' VQModel",
        )
    wrong = [f"{key} {said[key]} instead of {config[key]}" for key in said if said[key] != config[key]]
    if wrong:
        raise TokenizerError(
            f"the configuration beside it says {', '.join(wrong)}",
            str(path),
            "mend the configuration, or move it away to go by the weights alone",
        )
    size = config.get("image_size") or stated.get("ddconfig", {}).get("resolution", 256)
    if isinstance(size, list):
        size = size[0] if size[0] == size[1] else size
    preprocessing = {"size": size, "resize": "squash", "interpolation": "bicubic"}
    preprocessing |= channels_of(config.get("channels", 3))
    return Layout(family, config, preprocessing, published)


class _Shapes:
    """The shapes of a file's tensors, with an error that names what is missing."""

    def __init__(self, weights: Mapping[str, Tensor], path: Path) -> None:
        self.weights, self.path = weights, path

    def of(self, key: str, dimensions: int) -> list[int]:
        """Returns the shape of a tensor that must be there."""
        if key not in self.weights:
            raise TokenizerError(f"missing keys: {key}", str(self.path), "compare it with its source")
        shape = list(self.weights[key].shape)
        if len(shape) != dimensions or 0 in shape:
            raise TokenizerError(f"{key} has the shape {shape}", str(self.path), "compare it with its source")
        return shape

    def count(self, key: Callable[[int], str]) -> int:
        """Returns how many of `key(0)`, `key(1)`, ... there are."""
        return next(number for number in itertools.count() if key(number) not in self.weights)


def _renamed(table: Mapping[str, str], key: str) -> str:
    return table.get(key, key)


def _llamagen_name(levels: int, key: str) -> str:
    """Returns LlamaGen's key; it numbers the decoder's levels in running order, the coarsest first."""
    key = _renamed(_TAMING, key)
    if found := re.match(r"decoder\.up\.(\d+)\.", key):
        key = f"decoder.down.{levels - 1 - int(found[1])}.{key[found.end() :]}"
    for pattern, name in _LLAMAGEN:
        key = re.sub(pattern, name, key)
    return key


def _vit_sizes(shapes: _Shapes, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Reads ViT-VQGAN's arguments off the shapes."""
    _, channels, patch, _ = shapes.of("encoder.to_patch_embedding.0.weight", 4)
    codes, code_dim = shapes.of("quantizer.embedding.weight", 2)
    table = shapes.weights.get("encoder.en_pos_embedding")
    _, cells, width = shapes.of("encoder.en_pos_embedding", 3)
    side = stated.get("image_size")
    if side is not None:
        rows, columns = (int(s) // patch for s in (side if isinstance(side, list | tuple) else (side, side)))
    else:
        rows, columns = _grid_of(table, cells, width, shapes.path)
    return {
        "image_size": [rows * patch, columns * patch],
        "patch": patch,
        "encoder": _block_sizes(shapes, "encoder"),
        "decoder": _block_sizes(shapes, "decoder"),
        "code_dim": code_dim,
        "codes": codes,
        **channels_of(channels),
    }


def _block_sizes(shapes: _Shapes, side: str) -> list[int]:
    """Returns width, depth, heads and hidden width of the ViT's encoder or decoder."""
    inner, width = shapes.of(f"{side}.transformer.layers.0.0.fn.to_qkv.weight", 2)
    hidden, _ = shapes.of(f"{side}.transformer.layers.0.1.fn.net.0.weight", 2)
    depth = shapes.count(lambda layer: f"{side}.transformer.layers.{layer}.0.fn.to_qkv.weight")
    return [width, depth, inner // (3 * 64), hidden]


def _grid_of(table: Tensor | None, cells: int, width: int, path: Path) -> tuple[int, int]:
    """Returns the (rows, columns) that a ViT's table of positions [1, N, width] was made for."""
    if table is not None and not table.is_meta and width % 4 == 0:
        # sin(row) is zero in the first row alone.
        columns = int((table[0, :, width // 2] == 0).sum())
        if columns and cells % columns == 0:
            rows = cells // columns
            if torch.allclose(table.float(), positions(rows, columns, width), atol=1e-3):
                return rows, columns
    side = math.isqrt(cells)
    if side * side != cells:
        raise TokenizerError(
            f"has {cells} cells, no square, and positions of no known grid",
            str(path),
            "put its configuration (image_size: [H, W]) beside it",
        )
    return side, side


def _vit_stated(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a published configuration says of ViT-VQGAN, as our arguments."""
    said: dict[str, Any] = {}
    if "patch_size" in stated:
        said["patch"] = stated["patch_size"]
    for side in ("encoder", "decoder"):
        if side in stated:
            said[side] = [stated[side][key] for key in ("dim", "depth", "heads", "mlp_dim")]
    if "quantizer" in stated:
        said |= {"code_dim": stated["quantizer"]["embed_dim"], "codes": stated["quantizer"]["n_embed"]}
    return said


def _convolutional_sizes(shapes: _Shapes, published: Callable[[str], str], search: str) -> dict[str, Any]:
    """Reads VQGAN's arguments off the shapes."""
    levels = shapes.count(lambda level: published(f"encoder.down.{level}.block.0.conv1.weight"))
    codes, code_dim = shapes.of(published("codebook"), 2)
    width, channels, _, _ = shapes.of("encoder.conv_in.weight", 4)
    return {
        "width": width,
        "widths": [
            shapes.of(published(f"encoder.down.{level}.block.0.conv1.weight"), 4)[0] for level in range(levels)
        ],
        "blocks": shapes.count(lambda block: published(f"encoder.down.0.block.{block}.conv1.weight")),
        "attention": [
            level for level in range(levels) if published(f"encoder.down.{level}.attn.0.q.weight") in shapes.weights
        ],
        "middle_attention": published("encoder.mid.attn_1.q.weight") in shapes.weights,
        "z": shapes.of("encoder.conv_out.weight", 4)[0],
        "code_dim": code_dim,
        "codes": codes,
        "search": search,
        **channels_of(channels),
    }


def _taming_stated(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a configuration of taming or latent diffusion says, as our arguments."""
    said = {
        ours: stated[theirs]
        for theirs, ours in (("embed_dim", "code_dim"), ("n_embed", "codes"))
        if theirs in stated
    }
    inner = stated.get("ddconfig", {})
    if {"ch", "ch_mult", "num_res_blocks", "z_channels"} <= inner.keys():
        said |= _widths(inner["ch"], inner["ch_mult"])
        said |= {"blocks": inner["num_res_blocks"], "z": inner["z_channels"]}
    if {"ch_mult", "attn_resolutions", "resolution"} <= inner.keys():
        sides = [inner["resolution"] // 2**level for level in range(len(inner["ch_mult"]))]
        said["attention"] = [level for level, side in enumerate(sides) if side in inner["attn_resolutions"]]
    return said


def _llamagen_stated(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a configuration of LlamaGen says, as our arguments."""
    names = {
        "codebook_size": "codes",
        "codebook_embed_dim": "code_dim",
        "z_channels": "z",
        "num_res_blocks": "blocks",
    }
    said = {ours: stated[theirs] for theirs, ours in names.items() if theirs in stated}
    if "encoder_ch_mult" in stated:
        said |= _widths(stated.get("ch", 128), stated["encoder_ch_mult"])
    return said


def _widths(width: int, multipliers: Sequence[int]) -> dict[str, Any]:
    return {"width": width, "widths": [width * multiplier for multiplier in multipliers]}
