"""A reader of token data sets, written from FORMAT.md; it shares no code with the package.

Blocks are decoded by `tests/codecs/reference_decoder.py`, which was written from the codecs' FORMAT.md.
"""

import base64
import hashlib
import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

sys.path.insert(0, str(Path(__file__).parents[1] / "codecs"))
from reference_decoder import Reference


def manifest_of(folder):
    """Section 2: the manifest, its digest checked."""
    data = (folder / "manifest.json").read_bytes()
    digest = re.search(rb'"digest"[ \t\r\n]*:[ \t\r\n]*"([0-9a-f]{64})"[ \t\r\n]*}[ \t\r\n]*$', data)
    zeroed = data[: digest.start(1)] + b"0" * 64 + data[digest.end(1) :]
    assert hashlib.sha256(zeroed).hexdigest().encode() == digest[1]
    manifest = json.loads(data)
    assert (manifest["format"], manifest["version"], manifest["must_understand"]) == ("seit-tokens", 1, [])
    return manifest


def checked(folder, file):
    """Section 2: the bytes of a file, compared with its size and SHA-256."""
    data = (folder / file["file"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    return data


def low(*parts):
    return xxhash.xxh3_64_intdigest(b"".join(parts)) & 0xFFFFFFFF


def labels_of(batch, kind, per_block, rows):
    """Section 3.2: a class, a list of classes, or a list of (class, weight) for every row."""
    if kind == "none":
        return [None] * rows
    columns = [batch[name] for name in ("label", "weight") if name in batch.schema.names]
    columns = [column.values if per_block > 1 else column for column in columns]
    if kind == "class":
        return columns[0].to_pylist()
    if kind == "multi":
        return [[(c, 1.0) for c in row] for row in columns[0].to_pylist()]
    return [list(zip(c, w, strict=True)) for c, w in zip(*(c.to_pylist() for c in columns), strict=True)]


def label_bytes(label):
    """Section 4: what of a label is summed after the ids."""
    if label is None:
        return b""
    if isinstance(label, int):
        return np.int64(label).tobytes()
    return np.array([c for c, _ in label], "<i8").tobytes()


def read(folder):
    """Yields (split, tokenizer's codes of the row's shape, label, name) of every row."""
    manifest = manifest_of(folder)
    ranges = [item.split("-") for item in manifest["used_codes"].split(",") if item]
    used = np.array([code for r in ranges for code in range(int(r[0]), int(r[-1]) + 1)])
    for shard in manifest["shards"]:
        batch = pa.ipc.open_file(checked(folder, shard["data"])).get_batch(0)
        side = pa.ipc.open_file(checked(folder, shard["side"])).get_batch(0)
        about = json.loads(batch.schema.metadata[b"seit"])
        codec, tables = manifest["codecs"][shard["codec"]], base64.b64decode(about["codec"])
        assert (len(tables), hashlib.sha256(tables).hexdigest()) == (codec["bytes"], codec["sha256"])
        assert (about["split"], about["rows"]) == (shard["split"], shard["rows"])
        payloads, decoder = batch["payload"].to_pylist(), Reference(tables)
        assert [low(payload) for payload in payloads] == batch["check"].to_pylist()
        labels = labels_of(batch, manifest["labels"], codec["rows_per_block"], shard["rows"])
        width = "<u2" if decoder.k <= 1 << 16 else "<u4"
        rows = np.concatenate([decoder.rows_of(payload) for payload in payloads]).astype(width)
        assert len(rows) == len(labels) == shard["rows"]
        for ids, label, name, check in zip(rows, labels, side["name"], side["check"], strict=True):
            sum_ = zlib.crc32(label_bytes(label), zlib.crc32(ids.tobytes()))
            if manifest["labels"] == "soft":
                sum_ = zlib.crc32(np.array([w for _, w in label], "<f4").tobytes(), sum_)
            assert sum_ == check.as_py()
            yield shard["split"], used[ids].reshape(manifest["shape"]), label, name.as_py()
