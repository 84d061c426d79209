"""A reader of token data sets (zero-order and context), written from the two FORMAT.md; it shares no code."""

import json
import struct
import zlib

import numpy as np
import pyarrow as pa


def tables(data):
    """codecs/FORMAT.md: K, log2 of a group's places, ids by place, the tables, what the slots of each step hold."""
    magic, mode, _, k, log, lefts, ups, first, a, b, second = struct.unpack_from("<8sBBxxIxxxxB6H", data)
    assert (magic, mode) == (b"seitids1", 1)
    g = -(-k >> log)
    shapes = [k, k + 1, k + 1, (lefts, ups), (g, lefts), (g, ups), (g, a, b), (first, g), (g, second, 1 << log)]
    layout = [("", "<" + kind, shape) for kind, shape in zip("IBBHBBBBB", shapes, strict=True)]
    place, *parts, costs, inner = np.frombuffer(zlib.decompress(data[33:]), layout)[0]
    two = [[slots_of(cost, k - (g << log)) for cost in tables] for g, tables in enumerate(inner)]
    return log, np.argsort(np.cumsum(place, dtype=np.uint32)), parts, [slots_of(cost, g) for cost in costs], two


def slots_of(costs, there):
    w = [round(2 ** (31 - c % 4 / 4)) >> (c // 4) for c in costs.tolist()[:there]]
    f = [1 + x * (16384 - len(w)) // max(sum(w), 1) for x in w]
    f[f.index(max(f))] += 16384 - sum(f)
    return f, [(choice, share) for choice, n in enumerate(f) for share in range(n)]


def block(payload, rows, grid, codec):
    log, id_of, (left, up, table, left_part, up_part, table_in), one, two = codec
    high, low, *words = struct.unpack_from(f"<{len(payload) // 2}H", payload)
    x, ids = high << 16 | low, np.full((rows, grid[0] + 1, grid[1] + 1), len(id_of))

    def take(f, slots):
        nonlocal x
        choice, share = slots[x % 16384]
        x = f[choice] * (x >> 14) + share
        x = x if x >> 16 else x << 16 | words.pop(0)
        return choice

    for n, i, j in np.ndindex(rows, *grid):
        a, b = left[ids[n, i + 1, j]], up[ids[n, i, j + 1]]
        group = take(*one[table[a, b]])
        place = (group << log) + take(*two[group][table_in[group, left_part[group, a], up_part[group, b]]])
        ids[n, i + 1, j + 1] = id_of[place]
        x ^= place & 0xFFFF
    assert (x, words) == (65536, [])
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
            ids = block(payload, rows, manifest["grid"], codec)
            for row, label in zip(ids, np.ravel(batch["label"][number].as_py()).tolist(), strict=True):
                yield shard["split"], used[row], label
