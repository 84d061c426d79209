"""A decoder of both modes from `FORMAT.md` alone, in plain Python: shares no code with the package, and is slow."""

from __future__ import annotations

import bisect
import itertools
import struct
import zlib

import numpy as np

QUARTERS = [2147483648, 1805811301, 1518500250, 1276901417]


class Coder:
    """The rANS state of one block."""

    def __init__(self, block: bytes) -> None:
        self.todo = [word for (word,) in struct.iter_unpack("<H", block)]
        self.x = self.todo.pop(0) << 16 | self.todo.pop(0)

    def slot(self) -> int:
        return self.x % 16384

    def take(self, frequency: int, share: int) -> None:
        self.x = frequency * (self.x >> 14) + share
        if self.x < 65536:
            self.x = self.x << 16 | self.todo.pop(0)

    def finished(self) -> bool:
        return self.x == 65536 and not self.todo


def frequencies(costs: list[int]) -> list[int]:
    w = [QUARTERS[c % 4] >> c // 4 for c in costs]
    f = [1 + x * (16384 - len(costs)) // max(sum(w), 1) for x in w]
    f[f.index(max(f))] += 16384 - sum(f)
    return f


def slots(costs: list[int], present: int) -> list[tuple[int, int, int]]:
    """For each slot: (choice, its frequency, share)."""
    f = frequencies(costs[:present])
    return [(choice, f[choice], share) for choice in range(present) for share in range(f[choice])]


class Reference:
    """Reads a codec's bytes; `rows` decodes one block."""

    def __init__(self, data: bytes) -> None:
        magic, mode, size, self.block_rows, self.k, self.h, self.w = struct.unpack_from("<8sBBHIHH", data)
        assert magic == b"seitids1"
        counts, self.data = data[20 : 20 + size], zlib.decompress(data[20 + size :])
        (self.read_tables if mode == 1 else self.read_network)(counts)
        assert not self.data

    def array(self, kind: str, *shape: int) -> list:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        part, self.data = self.data[:size], self.data[size:]
        return np.frombuffer(part, kind).reshape(shape).tolist()

    def read_tables(self, counts: bytes) -> None:
        k = self.k
        log, lefts, ups, first, left_parts, up_parts, second = struct.unpack("<B6H", counts)
        self.places = 1 << log
        groups = -(-k // self.places)
        place = list(itertools.accumulate(self.array("<u4", k), lambda a, b: (a + b) % (1 << 32)))
        self.id_of = {p: i for i, p in enumerate(place)}
        self.left_class, self.up_class = self.array("u1", k + 1), self.array("u1", k + 1)
        self.table_of = self.array("<u2", lefts, ups)
        self.left_part, self.up_part = self.array("u1", groups, lefts), self.array("u1", groups, ups)
        self.table_in = self.array("u1", groups, left_parts, up_parts)
        self.slots = [slots(costs, groups) for costs in self.array("u1", first, groups)]
        self.second_slots = [
            [slots(costs, min(self.places, k - g * self.places)) for costs in tables]
            for g, tables in enumerate(self.array("u1", groups, second, self.places))
        ]
        self.choose = self.choose_by_table

    def choose_by_table(self, coder: Coder, grid: dict, y: int, x: int) -> int:
        left, up = self.left_class[grid.get((y, x - 1), self.k)], self.up_class[grid.get((y - 1, x), self.k)]
        g, f, share = self.slots[self.table_of[left][up]][coder.slot()]
        coder.take(f, share)
        table = self.table_in[g][self.left_part[g][left]][self.up_part[g][up]]
        p, f, share = self.second_slots[g][table][coder.slot()]
        coder.take(f, share)
        coder.x ^= (g * self.places + p) % 65536
        return self.id_of[g * self.places + p]

    def read_network(self, counts: bytes) -> None:
        k = self.k
        j, r, hidden, self.shift, zero, self.cap = struct.unpack("<BBHBBH", counts)
        assert zero == 0
        self.levels = [-(-k // 8)]
        while self.levels[0] > 1:
            self.levels.insert(0, -(-self.levels[0] // 8))
        nodes = sum(self.levels)
        self.neighbours, place = self.array("i1", j, 2), self.array("<u2", k)
        codes, factors = self.array("i1", k + 1, r), self.array("i1", j, r, hidden)
        scale, start = self.array("<u4", hidden), self.array("<i2", hidden)
        self.weights, self.bias = self.array("i1", nodes, 8, hidden), self.array("<i4", nodes, 8)
        self.id_of = {leaf: i for i, leaf in enumerate(place)}
        self.rows = [
            [
                [
                    ((scale[h] * sum(c[i] * factors[n][i][h] for i in range(r)) + 32768) >> 16)
                    + start[h] * (n == 0)
                    for h in range(hidden)
                ]
                for c in codes
            ]
            for n in range(j)
        ]
        self.powers = [
            bisect.bisect_right(range(65538), 1 << 16 * 256 - i, key=lambda p: p**256) - 1 for i in range(256)
        ]
        self.choose = self.choose_by_network

    def choose_by_network(self, coder: Coder, grid: dict, y: int, x: int) -> int:
        rows = [self.rows[n][grid.get((y + dy, x + dx), self.k)] for n, (dy, dx) in enumerate(self.neighbours)]
        sums = [max(0, sum(column)) for column in zip(*rows, strict=True)]
        hidden = [min((z * z + (1 << self.shift) // 2) >> self.shift, self.cap) for z in sums]
        node, first = 0, 0
        for count, below in zip(self.levels, [*self.levels[1:], self.k], strict=True):
            children = min(8, below - 8 * node)
            at = first + node
            score = [
                self.bias[at][i] + sum(h * w for h, w in zip(hidden, self.weights[at][i], strict=True))
                for i in range(children)
            ]
            v = [(max(score) - s) >> 4 for s in score]
            w = [self.powers[i % 256] >> min(i // 256, 31) for i in v]
            share = ((16384 - children) << 16) // sum(w)
            f = [1 + (i * share >> 16) for i in w]
            f[0] += 16384 - sum(f)
            slot, child = coder.slot(), 0
            while slot >= f[child]:
                slot -= f[child]
                child += 1
            coder.take(f[child], slot)
            node, first = 8 * node + child, first + count
        coder.x ^= node
        return self.id_of[node]

    def rows_of(self, block: bytes) -> np.ndarray:
        """Decodes one block to [rows, h, w]."""
        count = self.block_rows
        if len(block) % 2:
            block, count = block[:-1], block[-1]
        coder, out = Coder(block), []
        for _ in range(count):
            grid: dict[tuple[int, int], int] = {}
            for y in range(self.h):
                for x in range(self.w):
                    grid[y, x] = self.choose(coder, grid, y, x)
            out.append([[grid[y, x] for x in range(self.w)] for y in range(self.h)])
        assert coder.finished()
        return np.array(out)
