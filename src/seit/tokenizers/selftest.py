"""Does a tokenizer see pictures as it was trained to? Tried on the embedded photos.

Wrong preprocessing (a range of [-1, 1] or 0..255, blue before red, a mirrored array, another resize) raises no
error anywhere: the ids are merely bad ones, and a data set of them trains a bad classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

from seit.errors import TokenizerError
from seit.images import decode, open_source, to_view
from seit.images.view import INTERPOLATIONS, RESIZES
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.quality import psnr

# A tokenizer that works reconstructs better than flat cells of its own size; a wrong range, order of channels or
# direction costs 4 dB and more.
_MARGIN_DB = 2.0
# Two libraries' bicubic resizes with antialiasing differ by 54 dB on the photos, at 32 as at 256 pixels; another
# filter, no antialiasing or a smaller picture enlarged by at most 48.
_SAME_DB = 50.0
_MISTAKES: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda images: images.flip(-1),
    "upside down": lambda images: images.flip(-2),
    "with red and blue exchanged": lambda images: images.flip(1),
    "with rows and columns exchanged": lambda images: images.mT,
    "inverted": lambda images: 1 - images,
}


@torch.inference_mode()
def self_test(
    tokenizer: Tokenizer, prepare: Callable[[Pillow.Image], Tensor] | None = None, photos: int = 4
) -> dict[str, Any]:
    """Reconstructs known photos and compares with what they are, whatever prepared them.

    Args:
        tokenizer: the one to try.
        prepare: your preprocessing, RGB picture -> float [3, H, W] as you would encode it; the tokenizer's own if
            left out (then its weights are tried).
        photos: how many of the embedded photos to take.

    Returns:
        psnr_db of the reconstructions; floor_db, the mean colour of every cell taken as its reconstruction, less
        2 dB; photos.

    Raises:
        TokenizerError: `prepare` gives another shape, numbers outside [0, 1] or another picture than the right
            preprocessing (the message says which mistake it looks like); or the reconstruction is below the floor.
    """
    pictures = [decode(p.read(), p.name, tokenizer.channels) for p in list(open_source("photos"))[:photos]]
    wanted = torch.stack([_tensor(to_view(picture, tokenizer.preprocessing)) for picture in pictures])
    images = wanted
    if prepare is not None:
        given = [
            _checked(prepare(picture), view, tokenizer) for picture, view in zip(pictures, wanted, strict=True)
        ]
        images = torch.stack(given)
        likeness = _mean_psnr(wanted, images)
        if not likeness >= _SAME_DB:
            raise TokenizerError(
                f"your preprocessing makes other pictures of known photos ({likeness:.1f} dB)"
                f"{_guess(wanted, images, pictures, tokenizer.preprocessing)}",
                f"tokenizer {tokenizer.name}",
                f"prepare images as its preprocessing says ({tokenizer.preprocessing}, RGB in [0, 1])",
            )
    device = tokenizer.codebook.device
    decoded = torch.cat([tokenizer.decode(tokenizer.encode(one[None].to(device))).cpu() for one in images])
    reached, floor = _mean_psnr(wanted, decoded), _floor(wanted, tokenizer.patch)
    if not reached >= floor:
        raise TokenizerError(
            f"known photos come back with {reached:.1f} dB, below {floor:.1f} dB",
            f"tokenizer {tokenizer.name}",
            "its weights or its family's settings are wrong, or it was trained on other things than photos",
        )
    return {"psnr_db": round(reached, 2), "floor_db": round(floor, 2), "photos": len(pictures)}


def _tensor(view: np.ndarray) -> Tensor:
    """Returns a view [H, W, C] uint8 as [C, H, W] in [0, 1]."""
    return torch.from_numpy(view).permute(2, 0, 1).float() / 255


def _checked(image: Tensor, view: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Returns the caller's image if it has the view's shape and range.

    Raises:
        TokenizerError: it has not.
    """
    where = f"tokenizer {tokenizer.name}"
    if image.shape != view.shape or not image.is_floating_point():
        cure = f"give float32 {list(view.shape)}, channels first"
        raise TokenizerError(f"your preprocessing gives {image.dtype} {list(image.shape)}", where, cure)
    low, high = image.min().item(), image.max().item()
    if not (low >= -0.1 and high <= 1.1):  # bicubic resizing in floating point may overshoot a little
        cure = "this family takes [0, 1] and changes the range inside"
        raise TokenizerError(f"your preprocessing gives numbers from {low:.2f} to {high:.2f}", where, cure)
    return image.float()


def _floor(images: Tensor, patch: int) -> float:
    """Returns what flat cells would reach on images [B, 3, H, W], less the margin, in dB."""
    flat = F.interpolate(F.avg_pool2d(images, patch), size=images.shape[-2:], mode="nearest")
    return _mean_psnr(images, flat) - _MARGIN_DB


def _mean_psnr(images: Tensor, decoded: Tensor) -> float:
    return psnr(images, decoded).mean().item()


def _guess(wanted: Tensor, given: Tensor, pictures: Sequence[Pillow.Image], preprocessing: dict[str, Any]) -> str:
    """Names the mistake that explains the given images best, if one does."""
    likeness = {
        mistake: _mean_psnr(wanted, undo(given))
        for mistake, undo in _MISTAKES.items()
        if undo(given).shape == wanted.shape
    }
    ways = [_otherwise_resized(picture, preprocessing) for picture in pictures]
    for mistake in ways[0]:
        likeness[mistake] = _mean_psnr(torch.stack([way[mistake] for way in ways]), given)
    best = max(likeness, key=lambda mistake: likeness[mistake])
    return f"; they look {best}" if likeness[best] > _mean_psnr(wanted, given) + 6 else ""


def _otherwise_resized(picture: Pillow.Image, preprocessing: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the views [C, H, W] that usual mistakes in resizing make."""
    made = {
        f"resized by {kind}": _tensor(to_view(picture, {**preprocessing, "interpolation": kind}))
        for kind in INTERPOLATIONS
        if kind != preprocessing["interpolation"]
    }
    for way in RESIZES:
        if way != preprocessing["resize"]:
            made[f"fitted by {way}"] = _tensor(to_view(picture, {**preprocessing, "resize": way}))
    if preprocessing["resize"] == "squash":
        whole = _tensor(np.array(picture).reshape(picture.height, picture.width, -1))[None]
        size = to_view(picture, preprocessing).shape[:2]
        for mode in ("nearest-exact", "bilinear", "bicubic"):
            kind = mode.removesuffix("-exact")
            made[f"resized by {kind} without antialiasing"] = F.interpolate(whole, size=size, mode=mode)[0]
    return made
