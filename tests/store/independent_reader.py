"""A reader of token data sets (zero-order and context), written from the two FORMAT.md; it shares no code."""

import json
import struct
import zlib

import numpy as np
import pyarrow as pa


def tables(data):
    """codecs/FORMAT.md: a codec's V, its b and W, its classes and, a table, the (id, share) of each slot."""
    magic, mode, length, vocabulary = struct.unpack_from("<8sBBxxI", data)
    assert (magic, mode) == (b"seitids1", 1)
    lefts, ups, count = struct.unpack_from("<HHH", data, 20)
    raw = zlib.decompress(data[20 + length :])
    numbers = np.frombuffer(raw, "<u2", 2 * (vocabulary + 1) + lefts * ups)
    costs = np.frombuffer(raw, np.uint8, offset=numbers.nbytes).reshape(count, vocabulary).tolist()
    left, up, which = np.split(numbers, [vocabulary + 1, 2 * vocabulary + 2])
    bits, words = (14, 2) if vocabulary <= 4096 else (18, 3) if vocabulary <= 65536 else (20, 3)
    return vocabulary, bits, words, left, up, which.reshape(lefts, ups), [alias(cost, bits) for cost in costs]


def alias(costs, bits):
    weight = [round(2 ** (31 - c % 8 / 8)) >> (c // 8) for c in costs]
    f = [1 + w * ((1 << bits) - len(weight)) // max(sum(weight), 1) for w in weight]
    f[f.index(max(f))] += (1 << bits) - sum(f)
    buckets = 1 << (len(f) - 1).bit_length()
    size, left = (1 << bits) // buckets, f + [0] * (buckets - len(f))
    small, large = [s for s in range(buckets) if left[s] < size], [s for s in range(buckets) if left[s] > size]
    out = [[(min(s, len(f) - 1), r) for r in range(size)] for s in range(buckets)]
    while small:
        s, o = small.pop(), large[-1]
        left[o] -= size - left[s]
        out[s][left[s] :] = [(o, r + left[o] - left[s]) for r in range(left[s], size)]
        if left[o] <= size:
            small += [large.pop()] * (left[o] < size)
    return f, [(s, (p + 40503 * s % 65536 % f[s]) % f[s]) for bucket in out for s, p in bucket]


def block(payload, rows, grid, codec):
    vocabulary, bits, words, left, up, which, slots = codec
    stream = iter(np.frombuffer(payload[: len(payload) // 2 * 2], "<u2").tolist())
    x = 0
    for _ in range(words):
        x = x << 16 | next(stream)
    ids = np.full((rows, grid[0] + 1, grid[1] + 1), vocabulary)
    for n, i, j in np.ndindex(rows, *grid):
        f, entries = slots[which[left[ids[n, i + 1, j]], up[ids[n, i, j + 1]]]]
        ids[n, i + 1, j + 1], share = entries[x % (1 << bits)]
        x = f[ids[n, i + 1, j + 1]] * (x >> bits) + share
        while x < 1 << 16 * (words - 1):
            x = x << 16 | next(stream)
    assert (x, list(stream)) == (1 << 16 * (words - 1), [])
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
