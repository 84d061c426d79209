"""Fits the learned code's network with torch, in floats, and rounds it to the integers that are stored.

Less than a minute on one core for 512 ids, however many rows there are. Only `codecs.fit` comes here; decoding
never does.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seit.codecs import network
from seit.codecs.base import Array
from seit.codecs.learned import NEIGHBOURS, LearnedCodec, Network, absent, levels
from seit.codecs.tables_fit import tree
from seit.progress import progress

RANK, HIDDEN = 24, 56
STEPS, BATCH, LEARNING_RATE = 1500, 4096, 6e-3
_DENSE = 8
"""Nodes of a level up to which the scores of all are computed."""
_MOST_CELLS = 1 << 22
"""Cells that fitting looks at: as many as its steps draw, give or take."""


def fit(ids: Array, vocabulary: int, steps: int = STEPS, seed: int = 0) -> LearnedCodec:
    """Trains a network on ids and rounds it.

    Args:
        ids: integers [n, h, w] in 0..vocabulary-1; n may be 0, which gives a uniform code.
        vocabulary: K.
        steps: optimizer steps of 4096 cells.
        seed: of the start and of the cells drawn.

    Returns:
        The codec.
    """
    ids = ids[:: max(1, math.ceil(ids.size / _MOST_CELLS))]
    place = tree(ids, vocabulary)
    generator = torch.Generator().manual_seed(seed)
    model = _Model(vocabulary, generator)
    if ids.size:
        _train(model, place[ids], vocabulary, steps, generator)
    # the model numbers ids by leaf; the stored factors are numbered by id
    return LearnedCodec(vocabulary, ids.shape[1:], _rounded(model, place, vocabulary))


class _Model(nn.Module):
    """The network in floats: see `network` for what it computes."""

    def __init__(self, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        self.levels, gaps = levels(vocabulary), absent(vocabulary)
        self.codes = normal(vocabulary + 1, RANK, scale=0.3)
        self.factors = normal(len(NEIGHBOURS) * RANK, HIDDEN, scale=(len(NEIGHBOURS) * RANK) ** -0.5)
        self.start = nn.Parameter(torch.zeros(HIDDEN))
        self.weights = normal(len(gaps), network.FAN * HIDDEN, scale=0.05)
        self.bias = nn.Parameter(torch.zeros(gaps.shape))
        self.register_buffer("gaps", torch.from_numpy(gaps))

    def forward(self, around: Tensor, leaf: Tensor) -> Tensor:
        """Mean cost in bits of leaves [B] given their neighbours' leaves [B, J]."""
        # not self.codes[around], whose gradient adds up one by one
        hidden = F.relu(F.embedding(around, self.codes).flatten(1) @ self.factors + self.start).square()
        cost, first = hidden.new_zeros(()), 0
        for depth, count in enumerate(self.levels):
            child = leaf >> (3 * (len(self.levels) - 1 - depth))
            node = first + (child >> 3)
            if count <= _DENSE:  # all nodes of the level at once: less to compute than to fetch
                of_level = self.weights[first : first + count].view(-1, HIDDEN)
                scores = (hidden @ of_level.T).view(len(leaf), count, network.FAN)
                chosen = (child >> 3)[:, None, None].expand(-1, 1, network.FAN)
                score = scores.gather(1, chosen).squeeze(1) + F.embedding(node, self.bias)
            else:
                weights = F.embedding(node, self.weights).view(len(leaf), network.FAN, HIDDEN)
                score = torch.bmm(weights, hidden.unsqueeze(2)).squeeze(2) + F.embedding(node, self.bias)
            score = score.masked_fill(self.gaps[node], -1e9)  # type: ignore[index]
            cost = cost + F.cross_entropy(score, child & 7)
            first += count
        return cost / math.log(2)


def _train(model: _Model, leaves: Array, vocabulary: int, steps: int, generator: torch.Generator) -> None:
    """Minimises the cost of random cells."""
    margin = network.MARGIN
    n, h, w = leaves.shape
    wide = w + 2 * margin
    padded = np.full((n, h + margin, wide), vocabulary, np.int32)
    padded[:, margin:, margin:-margin] = leaves
    flat = torch.from_numpy(padded.reshape(-1))
    steps_to = torch.tensor([down * wide + right for down, right in NEIGHBOURS])
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    with progress(steps, "fit the learned code", "steps") as bar:
        for step in range(steps):
            for group in optimizer.param_groups:
                warm = min(1.0, (step + 1) / 50)
                group["lr"] = LEARNING_RATE * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-5
            row, y, x = (torch.randint(size, (BATCH,), generator=generator) for size in (n, h, w))
            at = (row * (h + margin) + y + margin) * wide + x + margin
            cost = model(flat[at[:, None] + steps_to].long(), flat[at].long())
            optimizer.zero_grad(set_to_none=True)
            cost.backward()
            optimizer.step()
            bar.update(1, f"{cost.item():.2f} bits an id")


@torch.no_grad()
def _rounded(model: _Model, place: Array, vocabulary: int) -> Network:
    """Rounds to integers: the largest of each hidden number's weights, and of each factor, fills a byte."""
    codes, factors = (t.double().numpy() for t in (model.codes, model.factors.view(len(NEIGHBOURS), RANK, HIDDEN)))
    codes = codes[np.append(place, vocabulary)]
    start, bias = model.start.double().numpy(), model.bias.double().numpy() / math.log(2)
    weights = model.weights.double().view(-1, network.FAN, HIDDEN).numpy() / math.log(2)
    gaps = absent(vocabulary)
    weights[gaps] = bias[gaps] = 0
    bias = bias - bias.max(1, keepdims=True)
    weights, largest = _filled(weights, (0, 1))
    units = np.sqrt(largest * (1 << network.UNIT))  # what a hidden number's root is worth, before the shift
    codes, each = _filled(codes, (0,))
    factors, columns = _filled(factors * each[:, None], (0, 1))
    whole = np.rint(weights).astype(np.int8)
    cap = int(min(65535, ((1 << 24) - 1) // max(1, int(np.abs(whole.astype(np.int64)).sum(2).max()))))
    for shift in range(14, -1, -1):  # the finest steps in which no sum leaves 16 bits
        scale = np.rint(columns * units * 2 ** (shift / 2) * 65536)
        offset = np.rint(start * units * 2 ** (shift / 2))
        if scale.max() < 1 << 31 and np.abs(offset).max() < 32768:
            fitted = Network(
                shift,
                cap,
                np.array(NEIGHBOURS, np.int8),
                place.astype(np.uint16),
                np.rint(codes).astype(np.int8),
                np.rint(factors).astype(np.int8),
                scale.astype(np.uint32),
                offset.astype(np.int16),
                whole,
                np.clip(np.rint(bias * (1 << network.UNIT)), -(1 << 23), 0).astype(np.int32),
            )
            if np.abs(fitted.rows()).max(1).sum(0).max() <= 32767:
                break
    return fitted


def _filled(values: NDArray[np.float64], axes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales values so that the largest over `axes` is 127; returns (scaled, one unit of each)."""
    unit = np.maximum(np.abs(values).max(axes), 1e-12) / 127
    return values / unit, unit
