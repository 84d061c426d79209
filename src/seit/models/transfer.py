"""Weights from one classifier to another (stem swaps, other grids or classes), and the published SeiT ones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from seit.errors import ModelError
from seit.models.classifier import Classifier, build


@dataclass(frozen=True)
class Transfer:
    """What became of every weight; `print` names them.

    Attributes:
        kept: names copied as they are.
        resampled: position embeddings interpolated to the target's grid.
        new: names of the target that keep their fresh values.
        dropped: names of the source that went nowhere.
    """

    kept: tuple[str, ...]
    resampled: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"kept {len(self.kept)} tensors"]
        for what in ("resampled", "new", "dropped"):
            if names := getattr(self, what):
                lines.append(f"{what}: {', '.join(names)}")
        return "; ".join(lines)


def transfer(source: Classifier, target: Classifier, *, codes: Tensor | None = None, head: bool = True) -> Transfer:
    """Copies into `target` every weight of `source` that fits: the stages of the paper's section 4.2.

    Tokens -> pixels is a target built with a pixel stem, other classes a target with another head: whatever has
    the same name and shape is copied, position embeddings are resampled to the target's grid. The stem is
    copied only to a stem of the same name; a fixed codebook stays the target's own.

    Args:
        source: a trained classifier.
        target: a fresh one of the same trunk; changed in place.
        codes: int64 [K], for learned tables of two data sets: the source's id of each of the target's, -1 for none.
        head: copy the head too; for the same classes only.

    Returns:
        The names of what was kept, resampled, new and dropped.

    Raises:
        ModelError: the trunks differ.
    """
    if source.config.trunk != target.config.trunk:
        raise ModelError(
            f"weights of {source.config.trunk} do not fit {target.config.trunk}",
            "transfer",
            "build the target with the source's trunk",
        )
    given, wanted = source.state_dict(), target.state_dict()
    stem = {name for name in wanted if _is_stem(name)}
    same_stem = source.config.stem == target.config.stem
    last = {name for name in wanted if _is_head(name, target)}
    kept, resampled, new = [], [], []
    with torch.no_grad():
        for name, value in wanted.items():
            found = given.get(name)
            if name == "table":
                found = _table(found, value, codes) if source.config.learned and target.config.learned else None
            elif (name in last and not head) or (name in stem and not same_stem):
                found = None
            if found is not None and found.shape == value.shape:
                value.copy_(found)
                kept.append(name)
            elif found is not None and name == "trunk.pos_embed":
                value.copy_(_resample(found, target, source))
                resampled.append(name)
            else:
                new.append(name)
    used = {*kept, *resampled}
    dropped = [name for name in given if name not in used]
    return Transfer(tuple(kept), tuple(resampled), tuple(new), tuple(dropped))


def _is_stem(name: str) -> bool:
    return name.startswith(("trunk.patch_embed.", "trunk.conv1.", "trunk.stem."))


def _is_head(name: str, model: Classifier) -> bool:
    head = model.trunk.get_classifier()
    owner = next(owner for owner, module in model.named_modules() if module is head)
    return name.startswith(f"{owner}.")


def _table(given: Tensor | None, fresh: Tensor, codes: Tensor | None) -> Tensor | None:
    """Returns the learned vectors of the target's codes: the source's where it knew the code, else as they are."""
    if given is None or codes is None or given.shape[1] != fresh.shape[1]:
        return given
    return torch.where((codes >= 0)[:, None], given[codes.clamp_min(0)], fresh)


def _resample(positions: Tensor, target: Classifier, source: Classifier) -> Tensor:
    prefix = 0 if target.trunk.no_embed_class else target.trunk.num_prefix_tokens
    return resample_abs_pos_embed(
        positions,
        new_size=list(target.trunk.patch_embed.grid_size),
        old_size=list(source.trunk.patch_embed.grid_size),
        num_prefix_tokens=prefix,
    )


_TRUNKS = {192: "deit_tiny_patch16_224", 384: "deit_small_patch16_224", 768: "deit_base_patch16_224"}


def load_published(
    weights: str | Path | Mapping[str, Any], codebook: Tensor | None = None, *, ema: bool = False
) -> Classifier:
    """Returns a classifier with the weights of a published SeiT ViT (`deit_base_token_32` and its kin).

    Args:
        weights: the file (`trained-vit.ckpt`, `best_checkpoint.pth`), or the dictionary in it.
        codebook: [K, d] that the ids were made with (`codebook.ckpt`); without it the classifier takes vectors.
        ema: take the running average of the weights that a training checkpoint (`checkpoint.pth`) also holds; the
            published accuracy is that of the weights themselves.

    Returns:
        The classifier in eval mode; it gives the published code's logits.

    Raises:
        ModelError: the file is no SeiT ViT or holds no average, or the codebook has another width.
    """
    where = str(weights) if isinstance(weights, str | Path) else "weights"
    if isinstance(weights, str | Path):
        weights = _read(Path(weights))
    if ema and "model_ema" not in weights:
        raise ModelError("holds no running average of the weights", where, "leave out ema")
    state = dict(weights["model_ema"] if ema else weights.get("model", weights))
    stem, positions = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    if stem is None or positions is None or stem.shape[0] not in _TRUNKS or "head.weight" not in state:
        raise ModelError("no SeiT ViT", where, "give a file with patch_embed, pos_embed, blocks, norm and head")
    width, channels, kernel = stem.shape[:3]
    cells = round((positions.shape[1] - 1) ** 0.5)
    grid = cells * 2 * 8 // 7  # the official input is 28 of 32 cells, 14 after the stem
    model = build(
        _TRUNKS[width],
        f"conv{kernel}",
        channels,
        (grid, grid),
        state["head.weight"].shape[0],
        codebook=codebook,
    )
    # timm's name for the norm behind the pooling; the class token is in both, and in both its output is unused.
    renamed = {
        "trunk." + ("fc_" if name.startswith("norm.") else "") + name: value for name, value in state.items()
    }
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    if unexpected or set(missing) - {"table"}:
        raise ModelError(
            f"{len(unexpected)} tensors do not belong, {len(missing)} lack: {', '.join([*unexpected, *missing])}",
            where,
            "give an official SeiT ViT checkpoint",
        )
    return model.eval()


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelError("no such file", str(path), "give the published checkpoint's path")
    try:
        # Official training checkpoints hold their arguments; nothing else outside tensors is let in.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            "it is damaged or holds more than tensors, which is not unpickled",
            str(path),
            "download it again, or save its `model` alone",
        ) from error
