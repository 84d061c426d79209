"""Naive versions written from the paper's words: one row at a time, one-hot ids, Python loops."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_hot_crop(ids: Tensor, table: Tensor, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """ "Convert the tokens to one-hot form, crop, resize with bicubic interpolation, multiply by the codebook"."""
    top, left, height, width = box
    soft = F.one_hot(ids, len(table)).movedim(-1, 0).double()  # [K, h, w]
    soft = soft[:, top : top + height, left : left + width]
    soft = F.interpolate(soft[None], size=size, mode="bicubic", align_corners=False)[0]  # [K, m, m]
    return torch.einsum("kyx,kd->dyx", soft, table.double())


def nearest_codes(table: Tensor, code: int, count: int) -> list[int]:
    """ "The tokens that have the closest Euclidean distance in the codebook", without the token itself."""
    distances = [(float((table[code] - table[other]).double().norm()), other) for other in range(len(table))]
    return [other for _, other in sorted(distances) if other != code][:count]


def swapped(ids: Tensor, side: int, first: tuple[int, int], second: tuple[int, int]) -> Tensor:
    """ "Select two same-sized squares and swap the tokens inside them with each other"."""
    out = ids.clone()
    for y in range(side):
        for x in range(side):
            out[first[0] + y, first[1] + x] = ids[second[0] + y, second[1] + x]
            out[second[0] + y, second[1] + x] = ids[first[0] + y, first[1] + x]
    return out


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator, one number after the other."""
    out, word = [], (1 << 64) - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & word
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        out.append(z ^ (z >> 31))
    return out
