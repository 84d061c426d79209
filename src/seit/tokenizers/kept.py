"""New images for a data set that keeps some of a tokenizer's codes: their ids must be among those.

A code that no image of the data set had is not in its codebook (the paper keeps 391 of 8192); a picture from
elsewhere may ask for one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from seit.errors import TokenizerError, nearest_names
from seit.tokenizers.base import Tokenizer
from seit.tokenizers.search import cosine, euclidean

WAYS = ("search", "nearest")


def within(tokenizer: Tokenizer, codes: Tensor, way: str = "search") -> Callable[[Tensor], Tensor]:
    """Returns a search: from features [B, d, h, w] to ids of the whole codebook that are all among `codes`.

    The ids differ from those of the whole search only where that chose a code that is not kept.

    Args:
        tokenizer: it is left as it is; the search shares its weights.
        codes: int64 [K'], the kept codes.
        way: "search", among the kept codes alone (what the released SeiT code does); or "nearest", among all, and
            then the kept code nearest to the one found.

    Raises:
        TokenizerError: there is no such way, no code is kept, or one is not in the codebook.
    """
    if way not in WAYS:
        raise TokenizerError(f"there is no way {way!r} to keep within codes", cure=nearest_names(way, WAYS))
    if not len(codes) or not 0 <= codes.min() <= codes.max() < tokenizer.vocabulary:
        where = f"tokenizer {tokenizer.name}"
        raise TokenizerError(f"the {len(codes)} kept codes are not codes of its {tokenizer.vocabulary}", where)
    codes = codes.to(tokenizer.codebook.device)
    if way == "search":
        kept = reduced(tokenizer, codes)
        return lambda features: codes[kept.search(features)]
    table = codes[nearest_kept(tokenizer, codes)]
    return lambda features: table[tokenizer.search(features)]


def reduced(tokenizer: Tokenizer, codes: Tensor) -> Tokenizer:
    """Returns a copy that searches within `codes` (see `Tokenizer.keep`) and shares all other weights."""
    shared: dict[int, object] = {id(parameter): parameter for parameter in tokenizer.parameters()}
    return copy.deepcopy(tokenizer, shared).keep(codes)


@torch.no_grad()
def nearest_kept(tokenizer: Tokenizer, codes: Tensor) -> Tensor:
    """Returns for every code the position in `codes` of the nearest kept one: int64 [K]; for a kept code, its own.

    Near is what it is to the decoder: by angle where codes are directions, else by distance.
    """
    table = tokenizer.codebook
    near = cosine if tokenizer.unit_codes else euclidean
    found = near(table.T[None, :, :, None], table[codes])[0, :, 0]
    found[codes] = torch.arange(len(codes), device=table.device)  # also where two codes are equal
    return found
