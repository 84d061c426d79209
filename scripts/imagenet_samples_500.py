"""Rebuilds imagenet-samples-500 from the public collection "imagenet-sample-images": every second file.

    git clone --depth 1 https://github.com/EliSchwartz/imagenet-sample-images
    python scripts/imagenet_samples_500.py imagenet-sample-images data/imagenet-samples-500

The collection has one full-size ImageNet photo a class, 1,000 in all. The 500 files that
scripts/lists/imagenet-samples-500.sha256 names (every second one by sorted name) are copied byte for byte and
checked. The pictures are ImageNet's: for research, not to be passed on.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

LIST = Path(__file__).parent / "lists" / "imagenet-samples-500.sha256"


def read_list(path: Path = LIST) -> dict[str, str]:
    """Returns file name -> SHA-256, from a list in the format of sha256sum."""
    rows = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {name: checksum for checksum, name in rows}


def rebuild(original: Path, out: Path, expected: dict[str, str]) -> int:
    """Copies and checks the set; `out` appears only if all is right. Returns the number of files."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, checksum in expected.items():
        data = (original / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != checksum:
            sys.exit(f"{original / name}: not the published file; download it again")
        (partial / name).write_bytes(data)
    partial.rename(out)
    return len(expected)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the folder imagenet-sample-images")
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out}: already exists; remove it or choose another folder")
    try:
        count = rebuild(arguments.original, arguments.out, read_list())
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; is {arguments.original} the whole collection?")
    print(f"wrote {arguments.out}: {count} files, all as published")


if __name__ == "__main__":
    main()
