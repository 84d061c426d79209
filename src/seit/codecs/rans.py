"""The entropy coder: range ANS in 16-bit words, as small functions that the kernels of each code are made of.

A block is one stream: a state x in [2^16, 2^32) that gives and takes little-endian words. It starts with the
coder's final state (two words, the higher first); a decoder that has taken all its ids must stand at x = 2^16 with
every word used, which is the check that damage rarely passes.

A choice of frequency f out of 2^14 owns f consecutive slots. To find the choice of a slot, a decoder counts the
choices that end at or before it, in a tree: a word of 64 bits holds four ends, and one subtraction compares all
four. That takes 2.5 to 3 bytes a choice, so that hundreds of tables stay in the processor's first two caches, and
no branch that nobody could predict. Where there is one table only, it is written out by slot (see `tables_coder`).

After each id the state is changed by the id's place: without that, a damaged bit that leads to another id of the
same frequency would leave the same state behind, and go unnoticed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seit.codecs.base import BITS
from seit.compiled import compiled

LANES = 4
"""Blocks decoded side by side: one alone waits for its own multiplications and look-ups."""
WORDS = 2
"""16-bit words of coder state."""

U = np.uint64
"""Kernels index by unsigned numbers: signed ones would be checked for counting from an array's end."""
LOW, SLOTS = U(1 << 16), U((1 << BITS) - 1)
_EACH, _TOP = U(0x0001_0001_0001_0001), U(0x8000_8000_8000_8000)


class Trees(NamedTuple):
    """Many distributions, each as a tree of where the slots of its choices end, for `take`.

    The last level has the ends of all choices, filled up with 2^14; the level above those of every fourth, and so
    on up to a level of one or two words. Before the last level stands a word whose last quarter is 0, to be read as
    the end before the first choice's.

    Attributes:
        words: uint64, the trees one after another, four ends a word.
        ends: uint16, the same memory.
        log: uint64, log2 of the choices that a tree has room for, at least 4.
    """

    words: NDArray[np.uint64]
    ends: NDArray[np.uint16]
    log: np.uint64


def trees_of(frequencies: NDArray[np.int64]) -> tuple[Trees, int]:
    """Makes `Trees`.

    Args:
        frequencies: int64 [tables, choices], each row summing to 2^14; 0 for a choice that is not there.

    Returns:
        (the trees, how many words each has).
    """
    tables, choices = frequencies.shape
    log = max(4, (choices - 1).bit_length())
    levels = [np.full((tables, 1 << log), 1 << BITS, np.uint16)]
    levels[0][:, :choices] = np.cumsum(frequencies, 1)
    while levels[0].shape[1] > 8:
        levels.insert(0, levels[0][:, 3::4])
    before = np.tile(np.array([1 << BITS] * 3 + [0], np.uint16), (tables, 1))
    ends = np.concatenate([*levels[:-1], before, levels[-1]], 1)
    words = ends.view("<u8").astype(np.uint64, copy=False)  # a copy only where the higher byte comes first
    return Trees(words.reshape(-1), ends.reshape(-1), U(log)), words.shape[1]


@compiled(inline=True)
def begin(words, start):
    """Returns the state that a block starts with, and the place of its next word."""
    return U(words[start]) << U(16) | U(words[start + 1]), U(start + WORDS)


@compiled(inline=True)
def refilled(x, words, at, last):
    """Returns the state with a word shifted in if it had become too small, and the place of the next word.

    Never reads beyond words[last], whatever damage says; and without a branch that nobody could predict.
    """
    need, longer = x < LOW, x << U(16) | U(words[min(at, last)])
    return longer if need else x, at + U(need)


@compiled(inline=True)
def below(bounds, word):
    """Returns how many of the four ends in a word are at most the slot that `bounds` holds four times over."""
    return (((bounds - word) & _TOP) >> U(15)) * _EACH >> U(48)


@compiled(inline=True)
def take(x, words, at, last, trees, tree):
    """Takes one choice out of the state.

    Args:
        x: the state.
        words: the payload.
        at, last: places of the next word and of the last one in it.
        trees: `Trees`.
        tree: the first word of the choice's.

    Returns:
        (choice, state, place of the next word), all unsigned.
    """
    slot, log = x & SLOTS, trees.log
    bounds = slot * _EACH | _TOP
    choice, level = below(bounds, trees.words[tree]), U(1)
    if log & U(1):
        choice, level = choice + below(bounds, trees.words[tree + U(1)]), U(2)
    while log > U(5):
        tree, level, log = tree + level, level << U(2), log - U(2)
        choice = choice << U(2) | below(bounds, trees.words[tree + choice])
    tree += level + U(1)
    choice = choice << U(2) | below(bounds, trees.words[tree + choice])
    place = (tree << U(2)) + choice
    first = U(trees.ends[place - U(1)])
    x, at = refilled((U(trees.ends[place]) - first) * (x >> U(BITS)) + slot - first, words, at, last)
    return choice, x, at


@compiled(inline=True)
def put(x, first, frequency, words, at):
    """Puts one choice into the state of an encoder, which works backwards from the last choice to the first.

    Args:
        x: the state.
        first: the choice's first slot.
        frequency: how many slots it has.
        words: uint16, filled from its end.
        at: place of the word written last.

    Returns:
        (state, place of the word written last).
    """
    if x >= frequency << U(32 - BITS):
        at -= 1
        words[at] = x & U(0xFFFF)
        x >>= U(16)
    whole = U(np.uint32(x)) // U(np.uint32(frequency))  # of 32 bits: a third of the time
    return (whole << U(BITS)) + first + (x - whole * frequency), at


@compiled(inline=True)
def flushed(x, words, at):
    """Puts a block's final state before its words; returns the place of the first."""
    words[at - 1], words[at - 2] = x & U(0xFFFF), x >> U(16)
    return at - 2
