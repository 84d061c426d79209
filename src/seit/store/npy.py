"""NumPy arrays in and out, for whoever has ids from elsewhere or wants them plain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seit import files
from seit.codecs.base import id_type
from seit.errors import StoreError
from seit.store.about import About
from seit.store.chunks import Chunk, write_chunks
from seit.store.token_rows import TokenRows

_CHUNK = 8192


def import_npy(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    out: str | os.PathLike[str],
    *,
    tokenizer: dict[str, Any],
    vocabulary: int,
    classes: list[str],
    codebook: np.ndarray | None = None,
    codec: str = "auto",
    terms: str = "",
    command: str = "",
) -> Path:
    """Makes a token data set from arrays, which may be memory-mapped.

    Args:
        splits: split -> (ids [n, h, w] integers 0..vocabulary-1, labels or None).
        out: the folder to make.
        tokenizer: at least "name" and "identity" of the tokenizer that made the ids.
        vocabulary: its codes.
        classes: class names in label order; labels are numbers or names.
        codebook: float32 [vocabulary, d] if known.
        codec: which codec to fit.
        terms: of the source.
        command: how to repeat this, recorded.

    Returns:
        OUT.

    Raises:
        StoreError: shapes or values do not fit.
    """
    arrays = [ids for ids, _ in splits.values()]
    if not arrays or any(ids.ndim != 3 or ids.shape[1:] != arrays[0].shape[1:] for ids in arrays):
        raise StoreError("ids are not [n, h, w] of one grid", "import_npy", "reshape them")
    about = About(
        tokenizer=tokenizer,
        grid=(arrays[0].shape[1], arrays[0].shape[2]),
        full_vocabulary=vocabulary,
        used_codes=np.arange(vocabulary, dtype=np.int32),
        classes=classes,
        source={"name": "arrays", "split_rule": "as given", "terms": terms},
        codebook=codebook,
    )

    def chunks() -> Iterator[Chunk]:
        for split, (ids, labels) in splits.items():
            if labels is not None and len(labels) != len(ids):
                raise StoreError(f"{len(labels)} labels for {len(ids)} rows", split, "give one a row")
            for first in range(0, len(ids), _CHUNK):
                part = slice(first, first + _CHUNK)
                yield Chunk(split, ids[part], None if labels is None else labels[part], None, split)

    return write_chunks(out, about, chunks, codec, command)


def export_npy(rows: TokenRows, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes `ids.npy` (stored ids [N, h, w]), `labels.npy` where there are any, and `names.txt`.

    A line break in a name becomes backslash and n, a backslash two.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.replace("\\", "\\\\").replace("\n", "\\n") for name in rows.names(range(len(rows)))]
    dtype = id_type(rows.vocabulary)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
    with files.atomic(folder / "ids.npy") as temporary, open(temporary, "wb") as plain:
        # written, not mapped: a full disk is an error here, and would kill the process there
        np.lib.format.write_array_header_1_0(plain, header | {"shape": (len(rows), *rows.grid)})
        for first in range(0, len(rows), _CHUNK):
            ids = rows.ids(np.arange(first, min(first + _CHUNK, len(rows))))
            plain.write(np.ascontiguousarray(ids, dtype).data)
    written = [folder / "ids.npy"]
    labels = rows.labels
    if labels is not None:
        with files.atomic(folder / "labels.npy") as temporary, open(temporary, "wb") as plain:
            np.save(plain, labels)
        written.append(folder / "labels.npy")
    files.write_bytes(folder / "names.txt", "".join(f"{name}\n" for name in names).encode())
    return [*written, folder / "names.txt"]


def read_names(path: Path) -> list[str]:
    """Returns the names that `export_npy` wrote, one a line; line breaks in them are spelt out."""
    lines = path.read_bytes().decode().removesuffix("\n").split("\n")  # universal newlines would cut at \r
    return [re.sub(r"\\([\\n])", lambda found: {"n": "\n"}.get(found[1], found[1]), line) for line in lines]
