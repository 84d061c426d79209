"""timm networks with their stem taken out and a stem adapter put in its place.

A trunk goes by its timm name; three more, too small for timm's list, are built from timm's ResNet. Every family
keeps what stood behind its stem's convolution: nothing (ViT), a layer norm (Swin, ConvNeXt), batch norm and ReLU
(ResNet, whose max-pool goes). A ResNet on pixels may keep its own stem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from timm.models import is_model_in_modules
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from seit.errors import ModelError, nearest_names
from seit.models.stems import Stem, StemAdapter

SMALL_RESNETS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "mini_resnet": ((2, 2, 0, 0), (64, 128, 128, 128)),
    "mini_resnet_wide": ((2, 2, 0, 0), (128, 256, 256, 256)),
    "reduced_resnet18": ((2, 2, 2, 2), (20, 40, 80, 160)),
}
"""Blocks and channels of each stage: two trunks for a laptop and tokens of small images (an 8 x 8 grid costs a core
0.5 and 1.5 ms an image and step), and the continual-learning trunk (paper, section 4.4: ResNet-18 with 20 base
channels)."""


def trunk_names() -> list[str]:
    """Returns every trunk name that `build` takes: the small ones and timm's of the four families."""
    named = [
        name for modules in _MODULES.values() for module in modules for name in timm.list_models(module=module)
    ]
    # Distilled DeiTs read two tokens instead of pooling; overlapping ConvNeXt stems are several layers.
    return sorted([*SMALL_RESNETS, *(name for name in named if "distilled" not in name and "_ols" not in name)])


def build_trunk(
    name: str, stem: Stem, channels: int, grid: tuple[int, int], classes: int, drop_path: float, pool: str
) -> nn.Module:
    """Returns the timm network whose stem takes vectors [B, channels, m, m].

    Args:
        name: a timm name, or one of `SMALL_RESNETS`.
        stem: what to put in the place of its stem.
        channels: d, the width of a vector; 3 for pixels.
        grid: (k, k), the stem's output in cells.
        classes: outputs of the head.
        drop_path: stochastic depth of the last block.
        pool: what a ViT classifies from, "mean" (of its cells) or "token"; other families have one way.

    Returns:
        The network: [B, channels, m, m] -> [B, classes].

    Raises:
        ModelError: unknown name, or a family without a rule, or a grid that is too small.
    """
    family = family_of(name)
    make, least = _FAMILIES[family]
    if stem.native and family != "resnet":
        raise ModelError(f"native is for ResNets, not for {name}", "stem", "choose patch16, or the trunk's patch")
    if pool == "token" and not has_token(name):
        raise ModelError("it has no class token", f"trunk {name}", "set pool to mean")
    if name in SMALL_RESNETS:
        least = 2 ** (sum(count > 0 for count in SMALL_RESNETS[name][0]) - 1)
    if min(grid) < least:
        raise ModelError(
            f"its blocks need a grid of at least {least}x{least}, the stem gives {grid[0]}x{grid[1]}",
            f"trunk {name}",
            "take a stem of smaller stride or a tokenizer with more cells",
        )
    return make(name, stem, channels, grid, classes, drop_path, pool)


def family_of(name: str) -> str:
    """Returns the family of a trunk: "vision_transformer", "resnet", "convnext" or "swin".

    Raises:
        ModelError: unknown name, or a network of another family.
    """
    if name in SMALL_RESNETS:
        return "resnet"
    if not timm.is_model(name):
        raise ModelError(f"there is no trunk {name!r}", "trunk", nearest_names(name, trunk_names()))
    if name in trunk_names():
        return next(family for family, modules in _MODULES.items() if is_model_in_modules(name, modules))
    raise ModelError(
        f"{name} is none of the networks whose stem can be replaced",
        "trunk",
        f"choose a timm model of {', '.join(_MODULES)}, neither distilled nor with an overlapping stem",
    )


def has_token(name: str) -> bool:
    """Whether a trunk has a class token to classify from."""
    if family_of(name) != "vision_transformer":
        return False
    with torch.device("meta"):
        return timm.create_model(name).cls_token is not None


def _vit(
    name: str, stem: Stem, channels: int, grid: tuple[int, int], classes: int, drop_path: float, pool: str
) -> nn.Module:
    # "avg" moves the final norm behind the pooling (paper, section 4.5); the class token stays, unpooled.
    model: Any = timm.create_model(
        name,
        img_size=grid,
        patch_size=1,
        in_chans=1,
        num_classes=classes,
        global_pool={"mean": "avg"}.get(pool, pool),
        dynamic_img_size=False,
        drop_path_rate=drop_path,
    )
    if model.cls_token is not None:
        nn.init.trunc_normal_(model.cls_token, std=0.02)  # as DeiT and the released code; timm's is all but zero
    # A pre-norm ViT (CLIP's) has no bias here, because its norm follows at once.
    bias = model.patch_embed.proj.bias is not None
    proj = stem.convolution(channels, model.embed_dim, bias)
    model.patch_embed = StemAdapter(proj, nn.Identity(), True, grid)
    return model


def _swin(
    name: str, stem: Stem, channels: int, grid: tuple[int, int], classes: int, drop_path: float, pool: str
) -> nn.Module:
    model: Any = timm.create_model(
        name, img_size=grid, patch_size=1, in_chans=1, num_classes=classes, drop_path_rate=drop_path
    )
    proj = stem.convolution(
        channels, model.embed_dim[0] if isinstance(model.embed_dim, list) else model.embed_dim, True
    )
    model.patch_embed = StemAdapter(proj, model.patch_embed.norm, False, grid)
    return model


def _convnext(
    name: str, stem: Stem, channels: int, grid: tuple[int, int], classes: int, drop_path: float, pool: str
) -> nn.Module:
    model: Any = timm.create_model(name, in_chans=1, num_classes=classes, drop_path_rate=drop_path)
    model.stem[0] = stem.convolution(channels, model.stem[0].out_channels, model.stem[0].bias is not None)
    return model


def _resnet(
    name: str, stem: Stem, channels: int, grid: tuple[int, int], classes: int, drop_path: float, pool: str
) -> nn.Module:
    if stem.native and name not in SMALL_RESNETS:
        return timm.create_model(name, num_classes=classes, drop_path_rate=drop_path)
    if name in SMALL_RESNETS:
        blocks, widths = SMALL_RESNETS[name]
        # timm's only way to another width than 64 before the first block is the deep stem, twice its stem_width.
        model: Any = ResNet(
            BasicBlock,  # type: ignore[arg-type]
            blocks,
            num_classes=classes,
            in_chans=1,
            channels=widths,
            stem_type="deep",
            stem_width=widths[0] // 2,
            drop_path_rate=drop_path,
        )
    else:
        model = timm.create_model(name, in_chans=1, num_classes=classes, drop_path_rate=drop_path)
    model.conv1 = stem.convolution(channels, len(model.bn1.weight), bias=False)
    model.maxpool = nn.Identity()
    return model


_MODULES = {
    "vision_transformer": ["vision_transformer", "deit"],
    "resnet": ["resnet"],
    "convnext": ["convnext"],
    "swin": ["swin_transformer"],
}
_Make = Callable[[str, Stem, int, "tuple[int, int]", int, float, str], nn.Module]
_FAMILIES: dict[str, tuple[_Make, int]] = {
    "vision_transformer": (_vit, 1),
    "resnet": (_resnet, 8),
    "convnext": (_convnext, 8),
    "swin": (_swin, 8),
}
