"""Fits the tables of the zero-order and context codes to ids: NumPy only, some seconds.

Neighbours fall into classes, and pairs of classes share tables, when the ids that follow are alike: k-means in the
Kullback-Leibler sense. Of most pairs too few ids are known to tell; they lean on what their left and their upper
class predict, multiplied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import BITS, Array
from seit.codecs.tables import ONE_STEP, TableCodec, Tables, neighbours

SIZES = (
    (32, 32, 4, 4),
    (64, 128, 8, 8),
    (96, 256, 12, 16),
    (128, 384, 16, 24),
    (160, 512, 16, 32),
    (192, 768, 24, 48),
)
"""What `fit` tries beside zero order: classes, tables of the first step, parts, a group's tables of the second."""

_CONTEXTS, _FOLLOWERS = 4096, 1024
"""Fitting tells so many neighbours apart, and of these so many ids that follow: beyond, alike ids count as one."""
_AXES, _MAX_PROFILE = 32, 1 << 25
_MAX_COSTS = 1 << 22
_LEAN, _SECOND_LEAN = 20, 40
"""Ids with which a table's probabilities lean on those of all its step's ids."""
_PREDICTED, _TRUST = 200, 0.75
"""Ids with which a pair of classes leans on what its classes predict, and how far each of these is believed: left
and upper neighbour partly say the same."""


def fit(ids: Array, vocabulary: int, sizes: tuple[tuple[int, int, int, int], ...] = SIZES) -> TableCodec:
    """Fits tables to ids, taking the size with the smallest total, tables counted.

    Args:
        ids: integers [n, h, w] in 0..vocabulary-1.
        vocabulary: K.
        sizes: to try beside zero order, from small to large.

    Returns:
        The codec with the fewest bytes for these ids and its own tables together.
    """
    grid = ids.shape[1:]
    best, fewest = _priced(vocabulary, grid, *_zero_order(ids, vocabulary))
    if ids.size < 8 * vocabulary or not sizes:  # so few never pay for tables
        return best
    place = tree(ids, vocabulary)
    for number, size in enumerate(sizes):
        if _numbers(vocabulary, sizes[min(number + 1, len(sizes) - 1)]) < ids.size // 400:
            continue  # the next size's tables are nothing beside so many ids
        if size[3] * vocabulary > _MAX_COSTS:
            break
        codec, total = of_size(ids, vocabulary, place, size)
        if total > fewest:  # more tables only cost more
            break
        best, fewest = codec, total
    return best


def of_size(ids: Array, vocabulary: int, place: Array, size: tuple[int, int, int, int]) -> tuple[TableCodec, float]:
    """Fits a context code of one size, see `SIZES`.

    Args:
        ids: integers [n, h, w] in 0..vocabulary-1.
        vocabulary: K.
        place: integers [K], of `tree`.
        size: (classes, tables of the first step, parts, a group's tables of the second).

    Returns:
        (the codec, its own bytes and these ids' together).
    """
    return _priced(vocabulary, ids.shape[1:], *_context(ids, vocabulary, place, size))


def _numbers(vocabulary: int, size: tuple[int, int, int, int]) -> int:
    """About how many numbers tables of a size are."""
    classes, tables, _, second_tables = size
    return classes**2 + (tables << ((vocabulary - 1).bit_length() + 1) // 2) + second_tables * vocabulary


def _priced(
    vocabulary: int, grid: tuple[int, ...], tables: Tables, counts: Array, second_counts: Array
) -> tuple[TableCodec, float]:
    """The codec, and its own bytes with those of the ids that were counted."""
    codec = TableCodec(vocabulary, (grid[0], grid[1]), tables)
    bits = 0.0
    for times, frequencies in ((counts, codec.frequencies), (second_counts, codec.second_frequencies)):
        bits += (times.reshape(frequencies.shape) * (BITS - np.log2(np.maximum(frequencies, 1)))).sum()
    return codec, len(codec.to_bytes()) + bits / 8


def _zero_order(ids: Array, vocabulary: int) -> tuple[Tables, Array, Array]:
    """Tables of one class, and what each of them counted."""
    bits = (vocabulary - 1).bit_length()
    places = 1 << (bits if vocabulary <= ONE_STEP else bits // 2)
    groups = -(-vocabulary // places)
    total: Array = np.zeros(groups * places, np.int64)
    total[:vocabulary] = np.bincount(ids.reshape(-1), minlength=vocabulary)
    total = total.reshape(groups, 1, places)
    one, zeros = np.zeros(vocabulary + 1, np.uint8), np.zeros((groups, 1), np.uint8)
    counts = total.sum(2).T
    tables = Tables(
        np.arange(vocabulary, dtype=np.uint32), one, one, np.zeros((1, 1), np.uint16),
        zeros, zeros, zeros[:, :, None], costs_of(counts, 0), np.stack([costs_of(part, 0) for part in total]),
    )  # fmt: skip
    return tables, counts, total


def _context(
    ids: Array, vocabulary: int, place: Array, size: tuple[int, int, int, int]
) -> tuple[Tables, Array, Array]:
    """Tables of some size, and what each of them counted."""
    classes, m, parts, second_m = size
    places = 1 << ((vocabulary - 1).bit_length() // 2)
    groups = -(-vocabulary // places)
    here = place[ids.reshape(-1)]
    group, within = np.divmod(here, places)
    order = np.append(place, vocabulary)
    class_of, side = [], []
    for neighbour in neighbours(ids, vocabulary):
        known = _classes(order[neighbour.reshape(-1)], here, vocabulary, classes)
        class_of.append(known[order].astype(np.uint8))
        side.append(class_of[-1][neighbour.reshape(-1)].astype(np.int64))
    table_of, counts = _shared(side[0], side[1], group, classes, groups, m)
    left_part, up_part = np.zeros((2, groups, classes), np.uint8)
    table_in = np.zeros((groups, parts, parts), np.uint8)
    second_counts = np.zeros((groups, second_m, places), np.int64)
    by_group = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=groups))
    for g, rows in enumerate(np.split(by_group, ends[:-1])):
        left, up, inside = side[0][rows], side[1][rows], within[rows]
        for part, known in ((left_part, left), (up_part, up)):
            part[g] = cluster(_pairs(known, inside, classes, places), parts)
        table_in[g], second_counts[g] = _shared(
            left_part[g, left].astype(np.int64), up_part[g, up], inside, parts, places, second_m
        )
    tables = Tables(
        place.astype(np.uint32), class_of[0], class_of[1], table_of.astype(np.uint16), left_part, up_part, table_in,
        costs_of(counts, _LEAN), np.stack([costs_of(part, _SECOND_LEAN) for part in second_counts]),
    )  # fmt: skip
    return tables, counts, second_counts


def _pairs(context: Array, target: Array, contexts: int, targets: int) -> Array:
    """How often each target followed each context, [contexts, targets]."""
    return np.bincount(context * targets + target, minlength=contexts * targets).reshape(contexts, targets)


def _classes(neighbour: Array, here: Array, vocabulary: int, classes: int) -> NDArray[np.int64]:
    """Classes of neighbours by what follows them, [K + 1], both in the order of `tree`."""
    contexts = np.arange(vocabulary + 1) >> max(0, (vocabulary // _CONTEXTS).bit_length() - 1)
    contexts[-1] = contexts[-2] + 1
    shift = max(0, ((vocabulary - 1) // _FOLLOWERS).bit_length())
    counts = _pairs(contexts[neighbour], here >> shift, contexts[-1] + 1, ((vocabulary - 1) >> shift) + 1)
    return cluster(counts, classes)[contexts]


def _shared(left: Array, up: Array, target: Array, classes: int, targets: int, m: int) -> tuple[Array, Array]:
    """Deals pairs of classes out to m tables; returns (table [classes, classes], counts [m, targets])."""
    counts = _pairs(left * classes + up, target, classes * classes, targets).reshape(classes, classes, targets)
    prior = _smooth(counts.sum((0, 1)), np.full(targets, 1 / targets), 0.5 * targets)
    sides = [np.log(_smooth(counts.sum(axis), prior, 30) / prior) for axis in (1, 0)]
    predicted = np.exp(_TRUST * (sides[0][:, None] + sides[1][None]) + np.log(prior))
    predicted *= _PREDICTED / predicted.sum(2, keepdims=True)
    table = cluster((counts + predicted).reshape(-1, targets), m)
    return table.reshape(classes, classes), _pairs(table[left * classes + up], target, m, targets)


def _smooth(counts: Array, prior: Array, lean: float) -> Array:
    """Probabilities from counts [..., n] that lean on a prior by some ids."""
    return (counts + lean * prior) / (counts.sum(-1, keepdims=True) + lean)


def costs_of(counts: Array, lean: float) -> NDArray[np.uint8]:
    """Probabilities of each of M tables in quarters of a bit, from counts [M, n] that lean on their sum."""
    n = counts.shape[1]
    p = _smooth(counts, _smooth(counts.sum(0), np.full(n, 1 / n), 0.5 * n), max(lean, 0.5))
    return np.clip(np.rint(-4 * np.log2(p / p.max(1, keepdims=True))), 0, 255).astype(np.uint8)


def cluster(counts: Array, k: int, rounds: int = 12) -> NDArray[np.int64]:
    """k-means of distributions: each row joins the centre that codes its counts in the fewest bits.

    Args:
        counts: [n, T], how often each of T ids followed each of n contexts.
        k: clusters.
        rounds: of assignment and update.

    Returns:
        int64 [n], the cluster of each row.
    """
    prior = _smooth(counts.sum(0), np.full(counts.shape[1], 1 / counts.shape[1]), 0.5 * counts.shape[1])
    weighty = np.argsort(-counts.sum(1), kind="stable")
    counts = counts.astype(np.float32)
    best = (counts * np.log(np.maximum(_smooth(counts, prior, 1e-3), 1e-9))).sum(1)
    centre = counts[weighty[np.arange(k) % len(weighty)]]
    label = np.zeros(len(counts), np.int64)
    for number in range(rounds):
        score = counts @ np.log(_smooth(centre, prior, 30)).T.astype(np.float32)
        label = score.argmax(1)
        if number < rounds - 1:  # an empty centre moves to a row that the others code badly
            empty = np.flatnonzero(np.bincount(label, minlength=k) == 0)
            worst = np.argsort(score.max(1) - best, kind="stable")[: len(empty)]
            label[worst] = empty[: len(worst)]
        centre = np.zeros_like(centre)
        np.add.at(centre, label, counts)
    return label


def tree(ids: Array, vocabulary: int) -> NDArray[np.int64]:
    """Orders ids so that alike ones (in what they stand beside) are neighbours; returns each id's place [K].

    The ids are cut in two along the principal axis of their neighbourhoods, again and again, down to eights.
    """
    vectors = _neighbourhoods(ids, vocabulary)
    order: list[int] = []
    stack = [np.arange(vocabulary)]
    while stack:
        part = stack.pop()
        centred = vectors[part] - vectors[part].mean(0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        part = part[np.argsort(centred @ axis, kind="stable")]
        if len(part) <= 8:
            order += part.tolist()
            continue
        half = 1 << ((len(part) - 1).bit_length() - 1)
        stack += [part[half:], part[:half]]
    return np.argsort(order)


def _neighbourhoods(ids: Array, vocabulary: int) -> NDArray[np.float64]:
    """What each id stands beside, [K, 32]: the principal axes of the roots of its neighbours' frequencies."""
    named = min(vocabulary, 1023, _MAX_PROFILE // vocabulary)
    names = np.full(vocabulary, named)
    names[np.argsort(-np.bincount(ids.reshape(-1), minlength=vocabulary), kind="stable")[:named]] = np.arange(named)
    profile = np.zeros((vocabulary, 2 * (named + 1)), np.float32)
    for side, (here, beside) in enumerate(((ids[:, :, 1:], ids[:, :, :-1]), (ids[:, 1:], ids[:, :-1]))):
        pairs = here.astype(np.int64) * (named + 1) + names[beside]
        counts = np.bincount(pairs.reshape(-1), minlength=vocabulary * (named + 1)).reshape(vocabulary, -1)
        profile[:, side * (named + 1) :][:, : named + 1] = np.sqrt(
            counts / np.maximum(counts.sum(1, keepdims=True), 1)
        )
    profile -= profile.mean(0)
    axes = np.random.default_rng(0).standard_normal((profile.shape[1], _AXES)).astype(np.float32)
    for _ in range(4):
        axes = np.linalg.qr(profile.T @ (profile @ axes))[0]
    return (profile @ axes).astype(np.float64)
