"""Makes the embedded sample, src/seit/images/sample.zip, from CIFAR-10.

    python scripts/make_sample.py cifar-10-binary.tar.gz src/seit/images/sample.zip

Takes either archive that scripts/cifar10.py takes. The sample holds the first 600 training and the first 100
test images of each class in the published order, as JPEG: quality 90, 4:2:0, optimised Huffman tables. One zip
without compression keeps thousands of small files out of the repository and costs about 120 bytes an image.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from cifar10 import CLASSES, named, read_cifar10

PER_CLASS = {"train": 600, "test": 100}
QUALITY = 90


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the positions, ascending, of the first `count` rows of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))]))


def write_sample(archive: Path, out: Path, per_class: dict[str, int]) -> int:
    """Writes the sample and returns how many images it holds. Equal inputs give equal bytes."""
    written = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for split, (images, labels) in read_cifar10(archive).items():
            paths = list(named(split, labels))
            for position in first_of_each_class(labels, per_class[split]):
                jpeg = io.BytesIO()
                Image.fromarray(images[position]).save(
                    jpeg, "JPEG", quality=QUALITY, subsampling="4:2:0", optimize=True
                )
                # A ZipInfo of a name alone carries the fixed date of 1980.
                target.writestr(zipfile.ZipInfo(paths[position] + ".jpg"), jpeg.getvalue())
                written += 1
    return written


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    written = write_sample(arguments.archive, arguments.out, PER_CLASS)
    print(f"wrote {arguments.out}: {written} images, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
