"""Small token data sets for the tests of this folder."""

from pathlib import Path

import numpy as np

from seit.store import RowTable, TokenDataset, TokenWriter

TOKENIZER = {"name": "toy", "identity": "a" * 64, "provenance": {}, "preprocessing": {"size": 64}}
SOURCE = {"name": "toy source", "split_rule": "folders", "terms": "none"}


def random_ids(n, grid=(8, 8), vocabulary=64, seed=0):
    """Ids with neighbours that resemble each other, [n, h, w]."""
    rng = np.random.default_rng(seed)
    smooth = rng.random((n, *grid)) + rng.random((n, 1, 1)) * 3
    return (smooth / 4 * vocabulary).astype(np.int64)


def table(n, prefix="train/a"):
    names = [f"{prefix}/{i:05d}.jpg" for i in range(n)]
    sizes = np.arange(n) + 1000
    return RowTable(names, sizes, sizes - 600, np.arange(n) * 7919, np.full(n, 64), np.full(n, 48))


def writer(out, grid=(8, 8), vocabulary=64, classes=("cat", "dog"), **options):
    codebook = np.random.default_rng(9).normal(size=(vocabulary, 4)).astype(np.float32)
    settings = {"plan": "plan 1", "source": dict(SOURCE), "tokenizer": dict(TOKENIZER), "codebook": codebook}
    settings |= {"codec": "zero-order", "vocabulary": vocabulary}
    return TokenWriter(out, grid=grid, classes=list(classes), **(settings | options))


def file_of(path, split, number=0, kind="data"):
    """The path of a split's shard `number`, or of its side table."""
    shards = [shard for shard in TokenDataset(path).manifest.shards if shard.split == split]
    return path / getattr(shards[number], kind).file


def make(out: Path, train=40, val=12, grid=(8, 8), vocabulary=64, seed=0, **options):
    """Writes a store of two splits; returns (path, ids [n, h, w], labels [n]) in stored order."""
    ids = random_ids(train + val, grid, vocabulary, seed)
    labels = np.random.default_rng(seed).integers(0, 2, train + val)
    w = writer(out, grid, vocabulary, **options)
    w.write(0, "train", ids[: train // 2], labels[: train // 2], table(train // 2, "train/first"))
    w.write(
        1, "train", ids[train // 2 : train], labels[train // 2 : train], table(train - train // 2, "train/second")
    )
    w.write(2, "val", ids[train:], labels[train:], table(val, "val/only"))
    return w.commit(), ids, labels
