"""The ids that benchmarks measure: real pictures, tokenized by the bundled tokenizers with `seit.tokenize`.

Pictures are looked for in the folder of --data: `imagenet-samples-500/` (full-size photos), `cifar10/` and
`tiny-imagenet-50/` (class folders, see docs/data.md). The embedded photos and the embedded sample of CIFAR-10 stand
in where the first two are absent. --work keeps the data sets as `NAME.tokens`, whole, for the next run.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import seit
from seit.images import Source, decode, jpeg_payload_bytes, open_source
from seit.store import RowTable

_SETS = {  # name: folder, stand-in, tokenizer, side of the view, stored views, split
    "photos": ("imagenet-samples-500", "photos", "patch8", 256, "flip", None),
    "cifar10": ("cifar10", "sample", "patch4", 32, "plain", "train"),
    "tiny": ("tiny-imagenet-50", None, "patch4", 64, "plain", "train"),
}
_SIZED = 500  # pictures whose sizes as JPEG files are looked at


@dataclass(frozen=True)
class Ids:
    """Ids of one set of pictures; every fifth picture is held out of `fit`.

    Attributes:
        source: the folder, or the name of an embedded set.
        vocabulary: K.
        all: uint16 [n, h, w], of every picture once.
        rows: names, sizes and hashes of the pictures.
        fit: [m, h, w], what codecs are fitted to: of photos the mirror images, too.
        held: [n // 5, h, w], what they are measured on.
        file_bytes, scan_bytes: mean of the pictures as JPEG files, with and without headers.
        pixels: bytes of one view as uint8.
    """

    source: str
    vocabulary: int
    all: np.ndarray
    rows: RowTable
    fit: np.ndarray
    held: np.ndarray
    file_bytes: float
    scan_bytes: float
    pixels: int


def load(data: Path | None, work: Path, names: tuple[str, ...] = tuple(_SETS)) -> dict[str, Ids]:
    """Opens the named sets, tokenizing those that are not in `work` yet; leaves out those without pictures."""
    sets = {}
    for name in names:
        folder, stand_in, *how = _SETS[name]
        there = data is not None and (data / folder).exists()
        if there or stand_in is not None:
            # two folders of pictures never share a data set
            sets[name] = _opened(name, str(data / folder) if data and there else str(stand_in), work, *how)
    return sets


def _opened(name: str, source: str, work: Path, tokenizer: str, side: int, views: str, split: str | None) -> Ids:
    out = work / (f"{name}.tokens" if source != _SETS[name][1] else f"{source}-embedded.tokens")
    if not out.exists():
        seit.tokenize(source, out, tokenizer=tokenizer, size=side, views=views, codec="zero-order")
    rows = seit.TokenDataset(out, split)
    ids = rows.ids(np.arange(len(rows))).reshape(-1, rows.views, *rows.grid)
    held = np.arange(len(ids)) % 5 == 4
    files, scans = _jpeg_bytes(open_source(source))
    fit = ids[~held].reshape(-1, *rows.grid)
    table = replace(rows.rows_at(np.arange(0, len(rows), rows.views)), crop=None, flip=None)
    return Ids(source, rows.vocabulary, ids[:, 0], table, fit, ids[held, 0], files, scans, 3 * side * side)


def _jpeg_bytes(pictures: Source) -> tuple[float, float]:
    """Returns the mean bytes of evenly spaced pictures as JPEG files, whole and without headers.

    Pictures in other formats are recoded as the embedded sample is: quality 90, 4:2:0, optimized tables.
    """
    sizes = []
    for number in range(0, len(pictures), max(1, len(pictures) // _SIZED)):
        data = pictures[number].read()
        if data[:2] != b"\xff\xd8":
            buffer = io.BytesIO()
            decode(data, pictures[number].name).save(buffer, "JPEG", quality=90, subsampling="4:2:0", optimize=True)
            data = buffer.getvalue()
        sizes.append((len(data), jpeg_payload_bytes(data)))
    files, scans = np.array(sizes, np.float64).mean(0).tolist()
    return files, scans
