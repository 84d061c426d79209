"""Rebuilds tiny-imagenet-50 from Tiny-ImageNet-200: every fourth class by sorted id.

    curl -O http://cs231n.stanford.edu/tiny-imagenet-200.zip && unzip -q tiny-imagenet-200.zip
    python scripts/tiny_imagenet_50.py tiny-imagenet-200 data/tiny-imagenet-50

Writes `train/<class id>/` with 500 and `val/<class id>/` with 50 JPEG files of 64 x 64 pixels, copied byte for
byte, and checks them against scripts/lists/tiny-imagenet-50.txt: per class its id, and for either split the
SHA-256 over its files (`digest`). The pictures are ImageNet's: for research, not to be passed on.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

LIST = Path(__file__).parent / "lists" / "tiny-imagenet-50.txt"


def read_list(path: Path = LIST) -> dict[str, dict[str, str]]:
    """Returns class id -> split ("train", "val") -> digest of its files."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: {"train": train, "val": val} for name, train, val in rows}


def digest(files: dict[str, bytes]) -> str:
    """Hashes one class's files: SHA-256 over name, zero byte, SHA-256 of the bytes, by sorted name."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return total.hexdigest()


def original_files(original: Path, wanted: set[str]) -> dict[tuple[str, str], list[Path]]:
    """Finds the files of the wanted classes in the published layout.

    Returns:
        (split, class id) -> paths. Training files lie in train/<class id>/images; validation files all in
        val/images, with their classes in val/val_annotations.txt.
    """
    found = {("train", name): sorted((original / "train" / name / "images").glob("*.JPEG")) for name in wanted}
    found |= {("val", name): [] for name in wanted}
    for line in (original / "val" / "val_annotations.txt").read_text().splitlines():
        file, name = line.split("\t")[:2]
        if name in wanted:
            found["val", name].append(original / "val" / "images" / file)
    return found


def rebuild(original: Path, out: Path, expected: dict[str, dict[str, str]]) -> int:
    """Copies and checks the set; `out` appears only if all is right. Returns the number of files."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    count = 0
    for (split, name), paths in original_files(original, set(expected)).items():
        files = {path.name: path.read_bytes() for path in paths}
        if digest(files) != expected[name][split]:
            sys.exit(f"{original}: {split} files of class {name} are not the published ones; download it again")
        (partial / split / name).mkdir(parents=True)
        for file, data in files.items():
            (partial / split / name / file).write_bytes(data)
        count += len(files)
    partial.rename(out)
    return count


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the folder tiny-imagenet-200")
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out}: already exists; remove it or choose another folder")
    try:
        count = rebuild(arguments.original, arguments.out, read_list())
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; is {arguments.original} Tiny-ImageNet-200, unzipped?")
    print(f"wrote {arguments.out}: {count} files, all as published")


if __name__ == "__main__":
    main()
