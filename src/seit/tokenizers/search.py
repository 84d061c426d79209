"""From features to ids: the four ways in which published tokenizers choose a code.

All work in float32 whatever the autocast, on some cells at a time, and take the lowest id on an exact tie. TF32
can flip near-ties: `base.exact` switches it off.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# (cell, code) pairs at a time: 2 MiB, which a core's cache holds, and 128 MiB, which fill a GPU.
_PAIRS = {"cpu": 1 << 19}
_PAIRS_ELSEWHERE = 1 << 25
_BLOCK = 64


def euclidean(features: Tensor, codebook: Tensor) -> Tensor:
    """Returns the nearest code of each cell by squared distance (taming, latent diffusion, ours).

    The squared norm of the feature does not move the minimum but its rounding, so it stays, as in the originals.

    Args:
        features: [B, d, h, w].
        codebook: [K, d].

    Returns:
        ids [B, h, w] int64.
    """
    codes = codebook.detach().float()
    norms = codes.square().sum(1)  # [K]

    def best(part: Tensor) -> Tensor:
        distances = part.square().sum(1, keepdim=True) + norms
        return _lowest(distances.addmm_(part, codes.T, alpha=-2))

    return _in_chunks(features, len(codes), best)


def cosine(features: Tensor, codebook: Tensor) -> Tensor:
    """Returns the nearest code by angle: `euclidean` between vectors of norm 1 (ViT-VQGAN, LlamaGen)."""
    with torch.autocast(features.device.type, enabled=False):
        return euclidean(F.normalize(features.detach().float(), dim=1), F.normalize(codebook.detach().float()))


def dot(features: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns the code with the largest logit, key . feature + bias (the Gumbel family, without its noise).

    Args:
        features: [B, d, h, w].
        keys: [K, d].
        bias: [K], none for zero.

    Returns:
        ids [B, h, w] int64.
    """
    keys = keys.detach().float()
    offset = keys.new_zeros(len(keys)) if bias is None else bias.detach().float()
    return _in_chunks(features, len(keys), lambda part: torch.addmm(offset, part, keys.T).max(1).indices)


def _lowest(distances: Tensor) -> Tensor:
    """Returns the index of each row's smallest number, the first one on a tie: distances [n, K], ids [n] int64."""
    count = distances.shape[1]
    if distances.device.type != "cpu" or count % _BLOCK or torch.compiler.is_compiling():
        return distances.min(1).indices
    # A CPU finds a minimum without its place ten times faster: first the block that has it, then its place there.
    blocks = distances.unflatten(1, (-1, _BLOCK))  # [n, K / 64, 64]
    block = blocks.amin(2).min(1).indices
    return block * _BLOCK + blocks[torch.arange(len(block)), block].min(1).indices


def _in_chunks(features: Tensor, codes: int, best: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies `best` [n, d] -> [n] to the cells of features [B, d, h, w], some at a time: ids [B, h, w]."""
    batch, width, rows, columns = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = features.detach().float().movedim(1, -1).reshape(-1, width)  # [B*h*w, d]
        # At least as many as a code is wide: fewer would spend their time reading the codebook, and the distances
        # are then no larger than it is.
        cells = max(width, _PAIRS.get(features.device.type, _PAIRS_ELSEWHERE) // codes)
        # An exported program takes any batch, and so cannot know how many chunks there are.
        parts = (flat,) if torch.compiler.is_compiling() else flat.split(cells)
        found = [best(part) for part in parts]
    return torch.cat(found).view(batch, rows, columns)
