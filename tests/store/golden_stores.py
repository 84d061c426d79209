"""Writes the golden stores of this format version, and what they hold, into an empty folder:

    PYTHONPATH=src:tests/store python tests/store/golden_stores.py FOLDER

Once a version is released its stores are kept for ever and never written again; a new version adds its own.
"""

import sys
from pathlib import Path

import numpy as np
import stores

from seit.store import TokenDataset
from seit.store.append import append

# name: rows, shape, vocabulary, codec, kind of labels, views
KINDS = {
    "v1-context-8x8": (400, (8, 8), 28, "context", "class", 1),
    "v1-zero-order-32x32": (6, (32, 32), 60, "zero-order", "class", 1),
    "v1-learned-8x8": (40, (8, 8), 28, "learned", "class", 1),
    "v1-uint32-multi": (4, (128, 129), 66_048, "zero-order", "multi", 1),
    "v1-views-soft": (12, (24, 24), 30, "zero-order", "soft", 2),
    "v1-planes-none": (12, (3, 4, 4), 40, "context", "none", 1),
    "v1-appended": (30, (8, 8), 40, "zero-order", "class", 1),
}
NAMES = [*KINDS, "v1-example"]


def repeating_ids(n: int, grid: tuple[int, int], vocabulary: int) -> np.ndarray:
    """Ids that are mostly their left or upper neighbour's, [n, h, w]."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, vocabulary, (n, *grid))
    kept = rng.random(ids.shape)
    for i in range(grid[0]):
        for j in range(grid[1]):
            left, up = ids[:, i, max(j - 1, 0)], ids[:, max(i - 1, 0), j]
            ids[:, i, j] = np.where(kept[:, i, j] < 0.45, left, np.where(kept[:, i, j] < 0.9, up, ids[:, i, j]))
    return ids


def labels_of(kind: str, n: int) -> np.ndarray | None:
    weights = np.array([[1, 0], [0.25, 0.75], [0, 0]], np.float32)[np.arange(n) % 3]
    return {"class": np.arange(n) % 2, "multi": weights > 0, "soft": weights, "none": None}[kind]


def write(folder: Path) -> None:
    for name, (rows, shape, vocabulary, codec, kind, views) in KINDS.items():
        path = folder / name
        ids = repeating_ids(rows, (int(np.prod(shape[:-1])), shape[-1]), vocabulary).reshape(rows, *shape)
        labels = labels_of(kind, rows)
        if vocabulary > 1 << 16:  # ids need 32 bits where more codes than that occur
            ids = np.arange(vocabulary).reshape(rows, *shape)
        held = rows // 3 // views * views
        classes = ("cat", "dog") if kind != "none" else ()
        options = {"codec": codec, "views": views, "metadata": {"note": name}}
        options |= {"codebook": None} if vocabulary > 1 << 16 else {}
        writer = stores.writer(path, shape, vocabulary + 4, classes, **options)
        for i, (split, part) in enumerate({"train": slice(held, None), "val": slice(held)}.items()):
            some = None if labels is None else labels[part]
            writer.write(i, split, ids[part], some, stores.table(len(ids[part]), f"{split}/a"))
        writer.commit()
        stored = [ids[held:], ids[:held]]
        stored_labels = None if labels is None else [labels[held:], labels[:held]]
        if name == "v1-appended":  # another class, other codes, a second codec
            other = stores.writer(folder / "more", shape, vocabulary + 4, ("dog", "eel"), **options)
            other.write(0, "train", 43 - ids, labels, stores.table(rows, "train/b"))
            append(path, {"train": TokenDataset(other.commit())}, codec)
            stored = [ids[held:], 43 - ids, ids[:held]]
            stored_labels = [labels[held:], labels + 1, labels[:held]]
        expected = {"ids": np.concatenate(stored).astype(np.uint32)}
        if stored_labels is not None:
            expected["labels"] = np.concatenate(stored_labels)
        np.savez_compressed(f"{path}.expected.npz", **expected)
    example(folder / "v1-example")


def example(path: Path) -> None:
    """Writes the data set of one image that FORMAT.md shows."""
    ids, options = np.array([[[0, 1, 1, 3], [0, 0, 1, 3]]]), {"codebook": None, "metadata": {"owner": "me"}}
    writer = stores.writer(path, (2, 4), 8, ("cat", "dog"), **options)
    writer.write(0, "train", ids, np.array([1]), stores.table(1, "dog"))
    writer.commit()
    np.savez_compressed(f"{path}.expected.npz", ids=ids, labels=[1])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
