"""The entropy coder of the table codes: alias-method rANS, several blocks in lockstep.

A block is one range ANS stream: a state x in [2^16, 2^32) that gives and takes 16-bit little-endian words. It
starts with the coder's final state (two words, highest first); a decoder that has taken all its ids must stand at
x = 2^16 with every word used, which is the check that damage rarely passes.

A choice of frequency f out of 2^14 owns f slots. The alias method (Walker; Giesen's form for rANS) deals the slots
out so that slot >> shift names a bucket with at most two choices: one comparison instead of a search, and 8 bytes a
choice instead of 2 bytes a slot, which keeps many tables in the cache.

After each id the state is changed by the id's place: without that, a damaged bit that leads to another id of the
same frequency would leave the same state behind, and go unnoticed.

An id is one choice or two: its group, then its place in the group (see `tables`).
"""

from __future__ import annotations

import numba as nb
import numpy as np

BITS = 14
"""log2 of the total of a table's frequencies: two words of state allow that before rounding shows."""
WORDS = 2
"""16-bit words of coder state."""
LANES = 4
"""Blocks decoded side by side: one alone waits for its own multiply and table look-up."""

_LOW = 1 << 16
_OTHER, _OWN, _NUMBER = 45, 30, 15
"""Fields of a bucket: in the lowest 15 bits the other choice's number above the threshold below which a slot is the
bucket's own choice's; from 15 the other's frequency, from 30 the own one's, from 45 the (signed) offset of the
other's shares."""

U = np.uint64
"""Kernels index by unsigned numbers: signed ones would be checked for counting from an array's end."""


@nb.njit(cache=True, nogil=True)
def alias_entries(frequencies):
    """Alias tables of many distributions.

    Args:
        frequencies: int64 [tables, choices], each row summing to 2^14; 0 for a choice that is not there.

    Returns:
        int64 [tables, buckets]; buckets is the power of two from the choices up, and a bucket's own choice is the
        one with its number.
    """
    tables, choices = frequencies.shape
    log = 0
    while 1 << log < choices:
        log += 1
    buckets, size = 1 << log, 1 << (BITS - log)
    entries = np.zeros((tables, buckets), np.int64)
    left = np.zeros(buckets, np.int64)
    small = np.zeros(buckets, np.int64)
    large = np.zeros(buckets, np.int64)
    for t in range(tables):
        smalls = larges = 0
        for s in range(buckets):
            left[s] = frequencies[t, s] if s < choices else 0
            entries[t, s] = (left[s] << _OWN) | size
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
            own = entries[t, s] - size + left[s]
            other = (o << (BITS + 1 - log)) | (frequencies[t, o] << _NUMBER) | ((left[o] - left[s]) << _OTHER)
            entries[t, s] = own | other
            if left[o] <= size:
                larges -= 1
                if left[o] < size:
                    small[smalls] = o
                    smalls += 1
    return entries


@nb.njit(cache=True, nogil=True)
def links_of(entries):
    """Where else each choice has slots, for encoding: chains of the buckets in which it is the other one.

    Args:
        entries: [tables, buckets] from `alias_entries`.

    Returns:
        int32 [tables, buckets, 2]: a choice's first such bucket, and a bucket's successor; -1 ends a chain.
    """
    tables, buckets = entries.shape
    size = (1 << BITS) // buckets
    links = np.full((tables, buckets, 2), -1, np.int32)
    for t in range(tables):
        for bucket in range(buckets):
            low = entries[t, bucket] & 0x7FFF
            if low & (2 * size - 1) < size:
                links[t, bucket, 1] = links[t, low // (2 * size), 0]
                links[t, low // (2 * size), 0] = bucket
    return links


@nb.njit(cache=True, nogil=True)
def _slot(entries, links, choice, share):
    """The slot of one table that decodes to a choice's share."""
    size = (1 << BITS) // len(entries)
    if share < entries[choice] & (2 * size - 1):
        return choice * size + share
    bucket = links[choice, 0]
    while bucket >= 0:
        r = share - (entries[bucket] >> _OTHER)
        if entries[bucket] & (2 * size - 1) <= r < size:
            return bucket * size + r
        bucket = links[bucket, 1]
    return np.int64(0)  # not reached: every share has a slot


@nb.njit(cache=True, nogil=True)
def encode(first, frequency, place):
    """Encodes blocks of equally many ids, each by equally many choices whose shares are consecutive slots.

    Args:
        first, frequency: int64 [n, choices], a choice's first slot and how many it has, out of 2^14.
        place: int64 [n, cells] below 2^16, of the ids: it changes the state after each.

    Returns:
        (payload uint8 [P], lengths int64 [n] in bytes).
    """
    n, choices = first.shape
    depth = choices // place.shape[1]
    payload, lengths, end = np.zeros(1 << 16, np.uint8), np.zeros(n, np.int64), 0
    block = np.zeros(choices + WORDS, np.uint16)
    for b in range(n):
        x, at = np.int64(_LOW), len(block)
        for i in range(choices - 1, -1, -1):
            if (i + 1) % depth == 0:
                x ^= place[b, i // depth]
            f = frequency[b, i]
            x, at = _make_room(x, f, block, at)
            x = ((x // f) << BITS) | (first[b, i] + x % f)
        payload, lengths[b] = _flush(x, block, at, payload, end)
        end += lengths[b]
    return payload[:end].copy(), lengths


@nb.njit(cache=True, nogil=True)
def encode_tables(table, choice, entries, links, second_entries, second_links):
    """Encodes blocks of equally many ids by alias tables.

    Args:
        table, choice: int64 [n, cells, 2], of both steps of an id; the first step is left out if there is but
            one group.
        entries, links, second_entries, second_links: of the two steps, see `alias_entries` and `links_of`.

    Returns:
        (payload uint8 [P], lengths int64 [n] in bytes).
    """
    n, cells, _ = table.shape
    payload, lengths, end = np.zeros(1 << 16, np.uint8), np.zeros(n, np.int64), 0
    block = np.zeros(2 * cells + WORDS, np.uint16)
    grouped = entries.shape[1] > 1
    for b in range(n):
        x, at = np.int64(_LOW), len(block)
        for i in range(cells - 1, -1, -1):
            x ^= (choice[b, i, 0] * second_entries.shape[1] + choice[b, i, 1]) & 0xFFFF
            for step in range(1, -1 if grouped else 0, -1):
                t, c = table[b, i, step], choice[b, i, step]
                one = second_entries[t] if step else entries[t]
                f = (one[c] >> _OWN) & 0x7FFF
                x, at = _make_room(x, f, block, at)
                x = ((x // f) << BITS) | _slot(one, second_links[t] if step else links[t], c, x % f)
        payload, lengths[b] = _flush(x, block, at, payload, end)
        end += lengths[b]
    return payload[:end].copy(), lengths


@nb.njit(cache=True, nogil=True)
def _make_room(x, f, block, at):
    """Moves a word out of a state that a choice of frequency f would make too large."""
    if x >= f << (16 * WORDS - BITS):
        at -= 1
        block[at] = x & 0xFFFF
        x >>= 16
    return x, at


@nb.njit(cache=True, nogil=True)
def _flush(x, block, at, payload, end):
    """Puts a block's state and words at the payload's end; returns (the payload, enlarged if need be, bytes)."""
    for _ in range(WORDS):
        at -= 1
        block[at] = x & 0xFFFF
        x >>= 16
    length = 2 * (len(block) - at)
    if end + length > len(payload):
        larger = np.zeros(2 * len(payload) + length, np.uint8)
        larger[:end] = payload[:end]
        payload = larger
    for i in range(at, len(block)):
        payload[end] = block[i] & 0xFF
        payload[end + 1] = block[i] >> 8
        end += 2
    return payload, length


@nb.njit(cache=True, nogil=True, inline="always")
def _take(x, words, at, last, entries, first, log):
    """Takes one choice out of the state, without a branch that nobody could predict.

    Args:
        x: the state.
        words: the payload.
        at, last: place of the next word in it, and of the block's last one.
        entries: int64, flat.
        first: the table's first bucket.
        log: log2 of the buckets.

    Returns:
        (choice, state, place of the next word), all unsigned.
    """
    shift = U(BITS) - log
    r = x & ((U(1) << shift) - U(1))
    bucket = (x & U((1 << BITS) - 1)) >> shift
    e = U(entries[first + bucket])
    own = (r - (e & ((U(2) << shift) - U(1)))) >> U(63)  # 1 if the slot is the bucket's own choice's
    f = (e >> (U(_NUMBER) + own * U(_OWN - _NUMBER))) & U(0x7FFF)
    other = U(np.int64(e) >> _OTHER)
    choice = bucket if own else (e & U(0x7FFF)) >> (shift + U(1))
    x = f * (x >> U(BITS)) + r + (U(0) if own else other)
    word = U(words[min(at, last)])
    need = x < U(_LOW)
    return choice, (x << U(16) | word) if need else x, at + U(need)


@nb.njit(cache=True, nogil=True)
def decode(
    words, starts, ends, out, shape, left_class, up_class, table_of, entries,
    left_part, up_part, table_in, second_entries, id_of,
):  # fmt: skip
    """Decodes whole blocks of equally many rows.

    Never reads outside `words` nor writes outside `out`, whatever the bytes are; ids come from `id_of`.

    Args:
        words: uint16 [P], the payload.
        starts, ends: int64 [n], 0 <= start, start + 2 <= end <= P (the caller has checked).
        out: uint16 or uint32 [n, rows * h * w], filled with ids.
        shape: (h, w) of the grid.
        left_class, up_class: uint8 [K + 1], class of a neighbour; the last one is "outside".
        table_of: uint16 [left classes, up classes], of the first step.
        entries: int64 [tables, buckets], groups; one bucket if there is but one group.
        left_part, up_part: uint8 [groups, classes], what a class counts as within a group.
        table_in: uint8 [groups, left parts, up parts], of the second step, counted within the group.
        second_entries: int64 [groups * tables, buckets], places in a group.
        id_of: uint32 [groups * buckets of a group], the id at each place.

    Returns:
        bool [n]: the block ended in the initial state with all its words used.
    """
    n, cells = out.shape
    height, width = shape
    outside, groups, places = len(left_class) - 1, left_part.shape[0], second_entries.shape[1]
    within, buckets = len(second_entries) // groups, entries.shape[1]
    contexts = table_of.size > 1 or table_in.size > groups
    first_flat, second_flat = entries.reshape(-1), second_entries.reshape(-1)
    log, second_log = U(0), U(0)
    while 1 << log < buckets:
        log += U(1)
    while 1 << second_log < places:
        second_log += U(1)
    state, at, last = np.zeros(LANES, U), np.zeros(LANES, U), np.zeros(LANES, U)
    block, good = np.zeros(LANES, U), np.zeros(n, np.bool_)
    for base in range(0, n, LANES):
        for k in range(LANES):
            b = min(base + k, n - 1)  # a short last group decodes its last block several times over
            block[k], at[k], last[k] = b, starts[b] + WORDS, ends[b] - 1
            state[k] = (U(words[starts[b]]) << U(16)) | U(words[starts[b] + 1])
        column, line = 0, 0
        for i in range(cells):
            for k in range(LANES):
                b, x, p = block[k], state[k], at[k]
                left, up, table, group = U(0), U(0), U(0), U(0)
                if contexts:
                    left = U(left_class[U(out[b, U(i - 1)]) if column > 0 else U(outside)])
                    up = U(up_class[U(out[b, U(i - width)]) if line > 0 else U(outside)])
                if buckets > 1:
                    table = U(table_of[left, up])
                    group, x, p = _take(x, words, p, last[k], first_flat, table << log, log)
                    table = group * U(within)
                if contexts:
                    table += U(table_in[group, U(left_part[group, left]), U(up_part[group, up])])
                place, x, p = _take(x, words, p, last[k], second_flat, table << second_log, second_log)
                leaf = (group << second_log) + place
                out[b, U(i)] = id_of[leaf]
                state[k], at[k] = x ^ (leaf & U(0xFFFF)), p
            column += 1
            if column == width:
                column = 0
                line = line + 1 if line + 1 < height else 0
        for k in range(LANES):
            good[block[k]] = state[k] == U(_LOW) and at[k] == last[k] + U(1)
    return good
