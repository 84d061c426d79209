"""How fast ids become bytes and bytes become ids, beside general-purpose packers and plain copying; on one core."""

from __future__ import annotations

import contextlib
import itertools
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import in_turns

from seit import codecs
from seit.codecs import escape

Packer = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]
"""Packs, and unpacks."""


def encoding(held: np.ndarray, ours: dict[str, codecs.Codec], seconds: float) -> dict[str, dict[str, Any]]:
    """Times encoding of 1,024 ids a row.

    Args:
        held: uint16 [n, h, w].
        ours: the fitted modes, "default" among them.
        seconds: about how long.

    Returns:
        As `in_turns`; items are rows.
    """
    works = {}
    for mode, codec in ours.items():
        rows = held[np.arange(256 if codec.name == "learned" else 4096) % len(held)]
        works[mode] = (lambda codec=codec, rows=rows: codec.encode(rows), len(rows))
    return in_turns(works, "default", seconds)


def decoding(held: np.ndarray, ours: dict[str, codecs.Codec], seconds: float) -> dict[str, dict[str, Any]]:
    """Times decoding of 1,024 ids a row, rows in random order.

    Args:
        held: uint16 [n, h, w].
        ours: the fitted modes, "default" among them.
        seconds: about how long.

    Returns:
        As `in_turns`; items are rows: our modes, packers a row, the loop that Algorithm 2 suggests, and memcpy.
    """
    rng = np.random.default_rng(0)
    plain = held.reshape(len(held), -1)
    works: dict[str, Any] = {}
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
    return in_turns(works, "ours_default", seconds)


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


def packers() -> dict[str, Packer]:
    """Returns general-purpose compressors at high levels; zstd and brotli where they are installed."""
    table: dict[str, Packer] = {"zlib": (lambda data: zlib.compress(data, 9), zlib.decompress)}
    with contextlib.suppress(ImportError):
        import zstandard

        table["zstd"] = zstandard.ZstdCompressor(19).compress, zstandard.ZstdDecompressor().decompress
    with contextlib.suppress(ImportError):
        import brotli

        table["brotli"] = (lambda data: brotli.compress(data, quality=9)), brotli.decompress
    table["lzma"] = lzma.compress, lzma.decompress
    return table
