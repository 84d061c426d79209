"""How fast ids are decoded, and how the figures of a shared machine are made comparable: in turns.

Contenders take turns, round after round, and each round is a pair with every other: ratios are medians over rounds,
with their quartiles, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import itertools
import lzma
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import zstandard

from seit import codecs
from seit.codecs import escape

Work = tuple[Callable[[], Any], int]
"""What to time, and how many images it gives."""


def in_turns(works: dict[str, Work], seconds: float, reference: str) -> dict[str, dict[str, Any]]:
    """Times all works in turns, for about so many seconds and at least 3 rounds.

    Returns:
        name -> images_per_s (median), best_images_per_s, of_<reference> (median of the ratios within a round) and
        its quartiles.
    """
    for work, _ in works.values():
        work()
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < 3 or (time.perf_counter() < end and len(rounds) < 200):
        speeds = {}
        for name, (work, count) in works.items():
            start = time.perf_counter()
            work()
            speeds[name] = count / (time.perf_counter() - start)
        rounds.append(speeds)
    table = {}
    for name in works:
        ratios = np.array([speeds[name] / speeds[reference] for speeds in rounds])
        own = [speeds[name] for speeds in rounds]
        table[name] = {
            "images_per_s": float(np.median(own)),
            "best_images_per_s": max(own),
            f"of_{reference}": float(np.median(ratios)),
            "quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
        }
    return table


def decode_table(held: np.ndarray, ours: dict[str, codecs.Codec], seconds: float) -> dict[str, dict[str, Any]]:
    """Times decoding of 1024 ids an image, rows in random order, on one core.

    Args:
        held: uint16 [n, h, w].
        ours: the fitted modes.
        seconds: about how long.

    Returns:
        As `in_turns`: our modes, packers an image, (a) the loop that Algorithm 2 suggests, (c) memcpy.
    """
    rng, works = np.random.default_rng(0), {}
    plain = held.reshape(len(held), -1)
    for mode, codec in ours.items():
        rows = rng.permutation(256 if codec.name == "learned" else 4096)
        coded = codec.encode(held[np.arange(len(rows)) % len(held)])
        works[f"ours_{mode}"] = (lambda codec=codec, coded=coded, rows=rows: codec.decode(*coded, rows), len(rows))
    symbols, starts = escape.encode(escape.popularity(np.bincount(plain.reshape(-1)))[plain[:20]])
    images = [symbols[a:b].tobytes() for a, b in itertools.pairwise(starts.tolist())]
    works["byte_loop"] = (lambda: [byte_loop(image) for image in images], len(images))
    for name, (pack, unpack) in packers().items():
        packed = [pack(row.astype("<u2").tobytes()) for row in plain[:100]]
        works[f"{name}_an_image"] = (
            lambda packed=packed, unpack=unpack: [np.frombuffer(unpack(one), "<u2") for one in packed],
            len(packed),
        )
    many = np.tile(plain.astype(np.uint16), (1 + 8192 // len(plain), 1))
    works["memcpy_uint16"] = (many.copy, len(many))
    return in_turns(works, seconds, "ours_default")


def byte_loop(data: bytes) -> list[int]:
    """Decodes one image as Algorithm 2 walks it, byte by byte."""
    ids, add = [], 0
    for byte in data:
        if byte == 255:
            add += 255
        else:
            ids.append(byte + add)
            add = 0
    return ids


def packers() -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    """General-purpose compressors at high levels: name -> (compress, decompress)."""
    zstd = zstandard.ZstdCompressor(19), zstandard.ZstdDecompressor()
    found = {
        "zlib": (lambda data: zlib.compress(data, 9), zlib.decompress),
        "zstd": (zstd[0].compress, zstd[1].decompress),
        "lzma": (lzma.compress, lzma.decompress),
    }
    try:
        import brotli

        found["brotli"] = (lambda data: brotli.compress(data, quality=9), brotli.decompress)
    except ImportError:
        pass
    return found
