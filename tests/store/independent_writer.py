"""A writer of zero-order token data sets, written from the two FORMAT.md; it shares no code with the package."""

import base64
import hashlib
import json
import struct
import zlib

import numpy as np
import pyarrow as pa
import xxhash

QUARTERS = [2147483648, 1805811301, 1518500250, 1276901417]


def best_costs(counts):
    """codecs/FORMAT.md: the cost of each choice in quarters of a bit; free to choose, best near -4 log2 share."""
    share = np.maximum(counts, 0.01) / max(counts.sum(), 1)
    return np.clip(np.round(-4 * np.log2(share / share.max())), 0, 255).astype(np.uint8)


def frequencies(costs):
    w = [QUARTERS[c % 4] >> c // 4 for c in costs.tolist()]
    f = [1 + x * (16384 - len(w)) // max(sum(w), 1) for x in w]
    f[f.index(max(f))] += 16384 - sum(f)
    return f


class ZeroOrder:
    """Mode 1 with one table a step: the group of an id, then its place in it; ids lie in order."""

    def __init__(self, ids, grid, vocabulary, per_block):
        self.grid, self.k, self.per_block = grid, max(2, vocabulary), per_block
        self.log = max(0, int(np.ceil(np.log2(self.k) / 2)))
        self.groups = -(-self.k >> self.log)
        counts = np.bincount(ids.reshape(-1), minlength=self.groups << self.log)
        by_group = counts.reshape(self.groups, -1)
        self.costs = best_costs(by_group.sum(1))
        self.inner = np.array([best_costs(row) for row in by_group])
        self.f = frequencies(self.costs)
        self.f2 = [frequencies(row[: self.k - (g << self.log)]) for g, row in enumerate(self.inner)]

    def to_bytes(self):
        head = struct.pack("<8sBBHIHH", b"seitids1", 1, 13, self.per_block, self.k, *self.grid)
        counts = struct.pack("<B6H", self.log, 1, 1, 1, 1, 1, 1)
        place = np.diff(np.arange(self.k), prepend=0).astype("<u4").tobytes()
        zeros = bytes(2 * (self.k + 1)) + bytes(2) + bytes(3 * self.groups)
        return head + counts + zlib.compress(place + zeros + self.costs.tobytes() + self.inner.tobytes())

    def block(self, rows):
        """The coder run backwards: what a decoder takes last is put in first."""
        x, words = 1 << 16, []
        for id_ in reversed(rows.reshape(-1).tolist()):
            x ^= id_ & 0xFFFF
            g, p = id_ >> self.log, id_ & (1 << self.log) - 1
            for f, choice in ((self.f2[g], p), (self.f, g)):
                if x >= f[choice] << 18:
                    words.append(x & 0xFFFF)
                    x >>= 16
                x = x // f[choice] * 16384 + sum(f[:choice]) + x % f[choice]
        words += [x & 0xFFFF, x >> 16]
        short = bytes([len(rows)]) if len(rows) < self.per_block else b""
        return struct.pack(f"<{len(words)}H", *reversed(words)) + short


def file_entry(folder, name, batch, metadata=None):
    with pa.ipc.new_file(str(folder / name), batch.schema.with_metadata(metadata)) as out:
        out.write_batch(batch.replace_schema_metadata(metadata))
    data = (folder / name).read_bytes()
    return {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def write(folder, splits, tokenizer, full_vocabulary, classes, per_block):
    """Writes splits {name: (codes [n, h, w], labels [n] or None, names [n])} into a new folder.

    `per_block` rows share a block; any number is right.
    """
    folder.mkdir()
    every = np.concatenate([codes for codes, _, _ in splits.values()])
    used, n, grid = np.unique(every), len(every), every.shape[1:]
    stored = {split: np.searchsorted(used, codes) for split, (codes, _, _) in splits.items()}
    coder = ZeroOrder(np.searchsorted(used, every), grid, len(used), per_block)
    tables, shards, class_counts = coder.to_bytes(), [], {}
    width = "<u2" if len(used) <= 1 << 16 else "<u4"
    for split, (_, labels, names) in splits.items():
        ids = stored[split]
        payloads = [coder.block(ids[i : i + per_block]) for i in range(0, len(ids), per_block)]
        columns = {"payload": pa.array(payloads, pa.binary())}
        columns["check"] = pa.array([xxhash.xxh3_64_intdigest(p) & 0xFFFFFFFF for p in payloads], pa.uint32())
        starts = [*range(0, len(ids), per_block), len(ids)]
        label_check = label_bytes = 0
        checks = [zlib.crc32(row.astype(width).tobytes()) for row in ids]
        if labels is not None:
            small = np.array(labels, "<i2")  # wider than needed: any width is right
            label_check = xxhash.xxh3_64_intdigest(small.tobytes()) & 0xFFFFFFFF
            column = pa.array(small)
            columns["label"] = pa.ListArray.from_arrays(starts, column) if per_block > 1 else column
            label_bytes = columns["label"].nbytes
            checks = [zlib.crc32(np.int64(x).tobytes(), c) for x, c in zip(labels, checks, strict=True)]
            class_counts[split] = np.bincount(labels, minlength=len(classes)).tolist()
        about = {"format": "seit-tokens-shard", "version": 1, "split": split, "first_row": 0, "rows": len(ids)}
        about |= {"shape": grid, "vocabulary": len(used), "labels": "none" if labels is None else "class"}
        about |= {"rows_per_block": per_block, "label_check": label_check}
        about["codec"] = base64.b64encode(tables).decode()
        batch = pa.record_batch(list(columns.values()), list(columns))
        data = file_entry(folder, f"{split}.arrow", batch, {"seit": json.dumps(about)})
        zeros = np.zeros(len(ids), np.uint32)
        side = {"name": pa.array(names), "source_bytes": zeros, "source_payload_bytes": zeros}
        side |= {"source_hash": zeros.astype(np.uint64), "width": zeros, "height": zeros}
        side["check"] = pa.array(checks, pa.uint32())
        side = file_entry(folder, f"{split}.rows.arrow", pa.record_batch(list(side.values()), list(side)))
        shard = {"split": split, "rows": len(ids), "codec": 0, "payload_bytes": sum(map(len, payloads))}
        shard |= {"offset_bytes": 4 * (len(payloads) + 1), "label_bytes": label_bytes}
        shards.append(shard | {"data": data, "side": side})
    codec = {"name": "zero-order", "rows_per_block": per_block, "bytes": len(tables)}
    codec["sha256"] = hashlib.sha256(tables).hexdigest()
    counts = np.bincount(np.concatenate([ids.reshape(-1) for ids in stored.values()]), minlength=len(used))
    manifest = {"format": "seit-tokens", "version": 1, "generation": 1, "tokenizer": tokenizer, "shape": grid}
    manifest |= {"vocabulary": len(used), "full_vocabulary": full_vocabulary}
    manifest |= {"used_codes": ",".join(map(str, used.tolist())), "code_counts": counts.tolist()}
    manifest |= {"labels": "class" if class_counts else "none", "classes": classes, "class_counts": class_counts}
    manifest |= {"codecs": [codec], "shards": shards, "codebook": None, "must_understand": []}
    text = (json.dumps(manifest)[:-1] + ', "digest": "' + "0" * 64 + '"}').encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    (folder / "manifest.json").write_bytes(text[:-66] + digest + text[-2:])
    assert n == sum(shard["rows"] for shard in shards)
