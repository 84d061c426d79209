"""A reader of token data sets, written from FORMAT.md alone; it shares no code with the package."""

import json
import struct
import zlib

import numpy as np
import pyarrow as pa


def tables(data):
    """FORMAT.md 6: a codec's V, its b and W, its classes and, a table, the (id, share) of each slot."""
    mode, length, vocabulary = struct.unpack_from("<8xBBxxI", data)
    assert data[:8] == b"seitids1"
    assert mode == 1
    lefts, ups, count = struct.unpack_from("<HHH", data, 20)
    raw = zlib.decompress(data[20 + length :])
    numbers = np.frombuffer(raw, "<u2", 2 * (vocabulary + 1) + lefts * ups)
    costs = np.frombuffer(raw, np.uint8, offset=numbers.nbytes).reshape(count, vocabulary).astype(int)
    left, up, which = np.split(numbers, [vocabulary + 1, 2 * vocabulary + 2])
    bits, words = (14, 2) if vocabulary <= 4096 else (18, 3) if vocabulary <= 65536 else (20, 3)
    slots = []
    for cost in costs:
        weight = np.array([round(2 ** (31 - c % 8 / 8)) >> (c // 8) for c in cost])
        f = 1 + weight * ((1 << bits) - vocabulary) // max(weight.sum(), 1)
        f[f.argmax()] += (1 << bits) - f.sum()
        slots.append((f, alias(f, bits)))
    return vocabulary, bits, words, left, up, which.reshape(lefts, ups), slots


def alias(f, bits):
    buckets = 1 << int(len(f) - 1).bit_length()
    size = (1 << bits) // buckets
    left = [*f.tolist(), *[0] * (buckets - len(f))]
    small, large = (
        [s for s in range(buckets) if test(left[s])] for test in (lambda x: x < size, lambda x: x > size)
    )
    out = [[(min(s, len(f) - 1), r) for r in range(size)] for s in range(buckets)]
    while small:
        s, o = small.pop(), large[-1]
        left[o] -= size - left[s]
        out[s][left[s] :] = [(o, r + left[o] - left[s]) for r in range(left[s], size)]
        if left[o] <= size:
            large.pop()
            small += [o] * (left[o] < size)
    return [entry for bucket in out for entry in bucket]


def block(payload, rows, grid, codec):
    vocabulary, bits, words, left, up, which, slots = codec
    stream = iter(np.frombuffer(payload[: len(payload) // 2 * 2], "<u2").tolist())
    x = 0
    for _ in range(words):
        x = x << 16 | next(stream)
    ids = np.full((rows, grid[0] + 1, grid[1] + 1), vocabulary)
    for n, i, j in np.ndindex(rows, *grid):
        f, entries = slots[which[left[ids[n, i + 1, j]], up[ids[n, i, j + 1]]]]
        found, share = entries[x % (1 << bits)]
        x = int(f[found]) * (x >> bits) + share
        while x < 1 << 16 * (words - 1):
            x = x << 16 | next(stream)
        ids[n, i + 1, j + 1] = found
    assert x == 1 << 16 * (words - 1)
    assert not list(stream)
    return ids[:, 1:, 1:]


def read(folder):
    """Yields (split, tokenizer's codes [h, w], label) of every row."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert (manifest["format"], manifest["version"]) == ("seit-tokens", 1)
    ranges = [item.split("-") for item in manifest["used_codes"].split(",") if item]
    used = np.array([code for r in ranges for code in range(int(r[0]), int(r[-1]) + 1)])
    codecs = [(c["rows_per_block"], tables((folder / c["file"]).read_bytes())) for c in manifest["codecs"]]
    for shard in manifest["shards"]:
        batch = pa.ipc.open_file(folder / shard["data"]["file"]).get_batch(0)
        per_block, codec = codecs[shard["codec"]]
        for number, payload in enumerate(batch["payload"].to_pylist()):
            rows = min(per_block, shard["rows"] - number * per_block)
            labels = batch["label"][number].as_py()
            ids = block(payload, rows, manifest["grid"], codec)
            for row, label in zip(ids, labels if per_block > 1 else [labels], strict=True):
                yield shard["split"], used[row], label
