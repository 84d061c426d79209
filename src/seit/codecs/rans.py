"""The entropy coder of the table codecs: alias-method rANS, several blocks in lockstep.

A block is one range ANS stream: a state x in [L, 2^16 L), L = 2^(16 (words - 1)), that gives and takes 16-bit
little-endian words. It starts with the coder's final state (`words` words, highest first); a decoder that has
taken all its ids must stand at x = L with every word used, which is the check that damage rarely passes.

An id of frequency f out of 2^bits owns f slots. The alias method (Walker; Giesen's form for rANS) deals the slots
out so that slot >> shift names a bucket with at most two ids: one comparison instead of a search, and 16 bytes an
id instead of 2 bytes a slot, which keeps many tables in the cache. An id's shares are turned by a number of its
own: without that, a damaged bit that leads to another id of the same frequency would leave the same state behind,
and go unnoticed.
"""

from __future__ import annotations

import numba as nb
import numpy as np

LANES = 4
"""Blocks decoded side by side: one alone waits for its own multiply and table look-up."""

_FREQUENCY, _EXTRA = 18, 40
"""Fields of a bucket's two entries: in bits 0..17 the turn of its own id, or the other's id; from 18 the frequency;
from 40 the threshold below which a slot is its own id's, or the (signed) offset of the other's shares."""


def precision(vocabulary: int) -> tuple[int, int]:
    """The coder's parameters for a vocabulary.

    Two words of state cost a block 3 bytes and allow 14 bits before rounding shows; larger vocabularies need
    finer frequencies and so a third word.

    Args:
        vocabulary: ids are 0..vocabulary-1, 2 to 2^18.

    Returns:
        (bits of the frequencies' total, 16-bit words of state).
    """
    if vocabulary <= 4096:
        return 14, 2
    return (18, 3) if vocabulary <= 65536 else (20, 3)


@nb.njit(cache=True, nogil=True)
def _turn(symbol, frequency):
    """By how many shares an id's are turned."""
    return ((symbol * 40503) & 0xFFFF) % frequency


@nb.njit(cache=True, nogil=True)
def alias_entries(frequencies, bits):
    """Alias tables of many distributions.

    Args:
        frequencies: int64 [tables, K], each row positive and summing to 2^bits.
        bits: log2 of the total.

    Returns:
        int64 [tables, buckets, 2]: the entries of each bucket's own id (the one with its number) and of the
        other; buckets is the power of two from K up.
    """
    tables, vocabulary = frequencies.shape
    buckets = 1
    while buckets < vocabulary:
        buckets *= 2
    size = (1 << bits) // buckets
    entries = np.zeros((tables, buckets, 2), np.int64)
    left = np.zeros(buckets, np.int64)
    small = np.zeros(buckets, np.int64)
    large = np.zeros(buckets, np.int64)
    for t in range(tables):
        smalls = larges = 0
        for s in range(buckets):
            left[s] = frequencies[t, s] if s < vocabulary else 0
            entries[t, s, 0] = (size << _EXTRA) | (left[s] << _FREQUENCY) | _turn(s, max(left[s], 1))
            if left[s] < size:
                small[smalls] = s
                smalls += 1
            elif left[s] > size:
                large[larges] = s
                larges += 1
        while smalls > 0:
            smalls -= 1
            s = small[smalls]
            o = large[larges - 1]
            left[o] -= size - left[s]
            field = (np.int64(1) << _EXTRA) - 1
            entries[t, s, 0] = (left[s] << _EXTRA) | (entries[t, s, 0] & field)
            f = frequencies[t, o]
            offset = left[o] - left[s] + _turn(o, f)
            entries[t, s, 1] = (offset << _EXTRA) | (f << _FREQUENCY) | o
            if left[o] <= size:
                larges -= 1
                if left[o] < size:
                    small[smalls] = o
                    smalls += 1
    return entries


@nb.njit(cache=True, nogil=True)
def slots_of(entries, first, bits):
    """Inverts alias tables, for encoding.

    Args:
        entries: [tables, buckets, 2] from `alias_entries`.
        first: int64 [tables, K], frequencies summed up to each id.
        bits: log2 of the total.

    Returns:
        uint32 [tables, 2^bits]: at first[t, id] + r the slot that decodes to the id's r-th share.
    """
    tables, buckets, _ = entries.shape
    size = (1 << bits) // buckets
    slots = np.zeros((tables, 1 << bits), np.uint32)
    for t in range(tables):
        for slot in range(1 << bits):
            bucket, r = slot // size, slot % size
            own, other = entries[t, bucket, 0], entries[t, bucket, 1]
            mine = r < (own >> _EXTRA)
            symbol = bucket if mine else other & 0x3FFFF
            f = ((own if mine else other) >> _FREQUENCY) & 0x3FFFFF
            share = r + (own & 0x3FFFF if mine else other >> _EXTRA)
            slots[t, first[t, symbol] + (share - f if share >= f else share)] = slot
    return slots


@nb.njit(cache=True, nogil=True)
def encode(first, frequency, table, slots, bits, words):
    """Encodes blocks of equally many ids, given each id's share of the slots.

    Args:
        first, frequency: int64 [n, cells], an id's first share and how many it has, out of 2^bits.
        table: int64 [n, cells], row of `slots` that turns shares into slots.
        slots: uint32 [tables, 2^bits], or [0, 0] where shares are slots.
        bits, words: see `precision`.

    Returns:
        (payload uint8 [P], lengths int64 [n] in bytes).
    """
    n, cells = first.shape
    most = cells * (words - 1) + words
    block = np.zeros(most, np.uint16)
    payload = np.zeros(1 << 16, np.uint8)
    lengths = np.zeros(n, np.int64)
    end = 0
    for b in range(n):
        x = np.int64(1) << (16 * (words - 1))
        at = most
        for i in range(cells - 1, -1, -1):
            f = frequency[b, i]
            while x >= f << (16 * words - bits):
                at -= 1
                block[at] = x & 0xFFFF
                x >>= 16
            slot = first[b, i] + x % f
            if len(slots):
                slot = np.int64(slots[table[b, i], slot])
            x = ((x // f) << bits) | slot
        for _ in range(words):
            at -= 1
            block[at] = x & 0xFFFF
            x >>= 16
        lengths[b] = 2 * (most - at)
        if end + lengths[b] > len(payload):
            larger = np.zeros(2 * len(payload) + lengths[b], np.uint8)
            larger[:end] = payload[:end]
            payload = larger
        for i in range(at, most):
            payload[end] = block[i] & 0xFF
            payload[end + 1] = block[i] >> 8
            end += 2
    return payload[:end].copy(), lengths


@nb.njit(cache=True, nogil=True)
def decode(payload, starts, ends, out, shape, entries, bits, words, left_class, up_class, table_of):
    """Decodes whole blocks of equally many rows.

    Never reads outside `payload` nor writes outside `out`, whatever the bytes are; ids come from `entries`.

    Args:
        payload: uint8 [P].
        starts, ends: int64 [n], 0 <= start, start + 2 * words <= end <= P (the caller has checked).
        out: uint16 or uint32 [n, rows * h * w], filled with ids.
        shape: (h, w) of the grid.
        entries: int64 [tables, buckets, 2].
        bits, words: see `precision`.
        left_class, up_class: uint16 [K + 1], class of a neighbour; the last one is "outside".
        table_of: uint16 [left classes, up classes].

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width = shape
    tables, buckets, _ = entries.shape
    vocabulary = len(left_class) - 1
    flat = entries.reshape(-1)
    ups = table_of.shape[1]
    cell_table = table_of.reshape(-1)
    shift = bits
    while (1 << (bits - shift)) < buckets:
        shift -= 1
    low, mask, inside = np.int64(1) << (16 * (words - 1)), (1 << bits) - 1, (1 << shift) - 1
    state = np.zeros(LANES, np.int64)
    at = np.zeros(LANES, np.int64)
    last = np.zeros(LANES, np.int64)
    block = np.zeros(LANES, np.int64)
    good = np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        for k in range(LANES):
            b = min(base + k, n - 1)  # a short last group decodes its last block several times over
            block[k] = b
            at[k] = starts[b] + 2 * words
            last[k] = ends[b] - 2
            x = np.int64(0)
            for j in range(words):
                q = starts[b] + 2 * j
                x = (x << 16) | np.int64(payload[q]) | (np.int64(payload[q + 1]) << 8)
            state[k] = x
        column, line = 0, 0
        for i in range(cells):
            for k in range(LANES):
                b = block[k]
                first = np.int64(0)
                if tables > 1:
                    left = np.int64(out[b, i - 1]) if column > 0 else vocabulary
                    up = np.int64(out[b, i - width]) if line > 0 else vocabulary
                    first = np.int64(cell_table[np.int64(left_class[left]) * ups + up_class[up]]) * buckets
                x = state[k]
                slot = x & mask
                r = slot & inside
                bucket = slot >> shift
                own, other = flat[2 * (first + bucket)], flat[2 * (first + bucket) + 1]
                # all bits set if the slot is the bucket's own id's: arithmetic instead of a branch that nobody
                # could predict
                mine = (r - (own >> _EXTRA)) >> 63
                f = ((other ^ ((own ^ other) & mine)) >> _FREQUENCY) & 0x3FFFFF
                offset, number = other >> _EXTRA, other & 0x3FFFF
                share = r + (offset ^ ((offset ^ (own & 0x3FFFF)) & mine)) - f
                x = f * (x >> bits) + share + (f & (share >> 63))
                q = min(at[k], last[k])
                word = np.int64(payload[q]) | (np.int64(payload[q + 1]) << 8)
                need = x < low
                x = (x << 16 | word) if need else x
                at[k] += 2 if need else 0
                if words > 2 and x < low:  # only an id rarer than 2^-16 takes two words
                    q = min(at[k], last[k])
                    x = x << 16 | np.int64(payload[q]) | (np.int64(payload[q + 1]) << 8)
                    at[k] += 2
                state[k] = x
                out[b, i] = number ^ ((number ^ bucket) & mine)
            column += 1
            if column == width:
                column = 0
                line += 1
                if line == height:
                    line = 0
        for k in range(LANES):
            good[block[k]] = state[k] == low and at[k] == last[k] + 2
    return good
