"""The ids that `benchmarks/store.py` measures: real pictures, tokenised by the bundled tokenizers.

Pictures are looked for in a folder given by argument or `SEIT_DATA`: `imagenet-samples-500/` (full-size photos),
`tiny-imagenet-50/` and `cifar10/` (class folders); CIFAR-10's embedded sample stands in where the last is absent.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from seit import tokenizers
from seit.errors import SeitError
from seit.images import decode, jpeg_payload_bytes, open_source, to_view
from seit.progress import progress
from seit.tokenizing.encoding import Encoder

_BATCH_PIXELS = 1 << 20


@dataclass
class Ids:
    """Ids of one set of pictures, in two parts: tables are fitted on `fit` and measured on `held`.

    Attributes:
        fit, held: uint16 [n, h, w]; of photos the mirror images are in `fit` as well.
        file_bytes, scan_bytes: mean of the pictures as JPEG files, with and without headers; other formats are
            recoded at quality 90, 4:2:0, optimised, as the embedded sample is.
        pixels: of one view.
    """

    name: str
    vocabulary: int
    fit: np.ndarray
    held: np.ndarray
    file_bytes: float
    scan_bytes: float
    pixels: int


def load(
    data: Path | None, work: Path, quick: bool, names: tuple[str, ...] = ("photos", "cifar10", "tiny")
) -> dict[str, Ids]:
    """Tokenises what is there of these names, or a part of it if `quick`, and keeps it in `work`."""
    found = {}
    wanted = (
        ("photos", "imagenet-samples-500", "patch8", 256, 150 if quick else 500),
        ("cifar10", "cifar10", "patch4", 32, 4000 if quick else 20_000),
        ("tiny", "tiny-imagenet-50", "patch4", 64, 800 if quick else 5500),
    )
    for name, folder, tokenizer, side, count in wanted:
        source: Path | str | None = data / folder if data and (data / folder).exists() else None
        if source is None and name == "cifar10":
            source = "sample"
        if source is not None and name in names:
            found[name] = _cached(name, source, tokenizer, side, count, work)
    if "photos" not in found:
        raise SystemExit("no imagenet-samples-500: give its parent folder by --data or SEIT_DATA")
    return found


def _cached(name: str, source: Path | str, tokenizer: str, side: int, count: int, work: Path) -> Ids:
    encoder = tokenizers.load(tokenizer)
    encoder.preprocessing = {**encoder.preprocessing, "size": side}
    file = work / f"{name}-{count}-{encoder.identity()[:12]}.npz"
    if not file.exists():
        np.savez(file, **_tokenised(encoder, source, count, mirror=name == "photos"))
    with np.load(file) as kept:
        numbers = kept["numbers"]
        return Ids(name, encoder.vocabulary, kept["fit"], kept["held"], *numbers.tolist(), 3 * side * side)


def _tokenised(
    encoder: tokenizers.Tokenizer, source: Path | str, count: int, mirror: bool
) -> dict[str, np.ndarray]:
    """Encodes evenly spaced pictures; every fifth is held out, and mirrored ones join the rest."""
    pictures = open_source(source)
    chosen = range(0, len(pictures), max(1, len(pictures) // count))
    batch = _BATCH_PIXELS // encoder.preprocessing["size"] ** 2
    parts: dict[str, list[np.ndarray]] = {"fit": [], "held": []}
    sizes = []

    def view(i: int) -> tuple[np.ndarray, int, int] | None:
        try:
            data = pictures[i].read()
            picture = decode(data, pictures[i].name)
            if data[:2] != b"\xff\xd8":
                data = _as_jpeg(picture)
            return to_view(picture, encoder.preprocessing), len(data), jpeg_payload_bytes(data)
        except SeitError:
            return None

    with ThreadPoolExecutor(1) as pool, progress(len(chosen), f"tokenize {source}", "images") as bar:
        for start in range(0, len(chosen), batch):
            numbers = range(start, min(start + batch, len(chosen)))
            views = {n: v for n, v in zip(numbers, pool.map(view, [chosen[n] for n in numbers]), strict=True) if v}
            sizes += [v[1:] for v in views.values()]
            for part, rows in (
                ("fit", [n for n in views if n % 5 != 4]),
                ("held", [n for n in views if n % 5 == 4]),
            ):
                if not rows:
                    continue
                stack = np.stack([views[n][0] for n in rows])
                parts[part].append(Encoder(encoder).ids(stack).astype(np.uint16))
                if mirror and part == "fit":
                    flipped = np.ascontiguousarray(stack[:, :, ::-1])
                    parts[part].append(Encoder(encoder).ids(flipped).astype(np.uint16))
            bar.update(len(numbers))
    joined = {name: np.concatenate(found) for name, found in parts.items()}
    return joined | {"numbers": np.array(sizes, np.float64).mean(0)}


def _as_jpeg(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, subsampling="4:2:0", optimize=True)
    return buffer.getvalue()
