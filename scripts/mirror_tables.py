"""Makes src/seit/tokenizers/bundled/mirror.json: the mirrored code of each code of the bundled tokenizers.

    python scripts/mirror_tables.py

Counted on the embedded pictures, whole for the tokenizer of small images, as random crops of the photos for the
other one. Takes three minutes on two cores.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

import seit
from seit.files import write_bytes
from seit.tokenizers import load
from seit.tokenizers.mirror import BUNDLED, count_mirrored

# tokenizer -> (pictures, side of a view, views of each picture)
PICTURES = {"patch4": ("sample", 32, "plain"), "patch8": ("photos", 256, "crops:48")}


def main() -> None:
    """Writes the file anew."""
    tables = {}
    for name, pictures in PICTURES.items():
        tokenizer = load(name)
        tables[tokenizer.identity()] = count_mirrored(tokenizer, codes_of(name, *pictures)).tolist()
    write_bytes(BUNDLED, (json.dumps(tables) + "\n").encode())


def codes_of(name: str, pictures: str, size: int, views: str) -> np.ndarray:
    """Returns the codes [n, h, w] of the views of the training pictures."""
    with tempfile.TemporaryDirectory() as folder:
        seit.tokenize(pictures, Path(folder) / "tokens", tokenizer=name, size=size, views=views, device="cpu")
        data = seit.TokenDataset(Path(folder) / "tokens", "train")
        return data.used_codes[data.ids(np.arange(len(data)))]


if __name__ == "__main__":
    main()
