"""Writes the golden stores of this format version, and what they hold, into an empty folder:

    PYTHONPATH=src python tests/store/golden_stores.py FOLDER

Once a version is released its stores are kept for ever and never written again; a new version adds its own.
"""

import sys
from pathlib import Path

import numpy as np
import stores

from seit.store import TokenDataset


def repeating_ids(n: int, side: int, vocabulary: int) -> np.ndarray:
    """Ids that are mostly their left or upper neighbour's, [n, side, side]."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, vocabulary, (n, side, side))
    kept = rng.random(ids.shape)
    for i in range(side):
        for j in range(side):
            left, up = ids[:, i, max(j - 1, 0)], ids[:, max(i - 1, 0), j]
            ids[:, i, j] = np.where(kept[:, i, j] < 0.45, left, np.where(kept[:, i, j] < 0.9, up, ids[:, i, j]))
    return ids


def write(folder: Path) -> None:
    for name, rows, side, vocabulary in (("context", 400, 8, 28), ("zero-order", 6, 32, 60)):
        path = folder / f"v1-{name}-{side}x{side}"
        ids, labels = repeating_ids(rows, side, vocabulary), np.arange(rows) % 2
        writer = stores.writer(path, (side, side), vocabulary + 4, codec=name)
        held = rows // 3
        writer.write(0, "train", ids[held:], labels[held:], stores.table(rows - held, "train/a"))
        writer.write(1, "val", ids[:held], labels[:held], stores.table(held, "val/b"))
        writer.commit()
        data = TokenDataset(path)
        assert [codec.name for codec in data.manifest.codecs] == [name]
        stored = np.concatenate([ids[held:], ids[:held]]).astype(np.uint16)
        np.savez_compressed(
            f"{path}.expected.npz", ids=stored, labels=np.concatenate([labels[held:], labels[:held]])
        )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
