"""`seit convert`: between codecs, and between token data sets and other people's formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seit import codecs
from seit.errors import CodecError, StoreError, nearest_names
from seit.store import TokenDataset, TokenRows
from seit.store.exports import export_parquet, export_webdataset
from seit.store.npy import export_npy
from seit.store.official import export_official, import_official
from seit.store.save import recode

_OFFICIAL = "-token.data.bin.gz"

_EXPORTS: dict[str, Callable[[TokenRows, Path, str, TokenRows], list[Path]]] = {
    "npy": lambda rows, out, split, _: export_npy(rows, out / split),
    "official": lambda rows, out, split, first: export_official(rows, out, f"imagenet1k-{split}", first),
    "parquet": lambda rows, out, split, _: [export_parquet(rows, out, split)],
    "webdataset": lambda rows, out, split, _: export_webdataset(rows, out, split),
}


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str = "tokens",
    codec: str = "auto",
    command: str = "",
) -> dict[str, Any]:
    """Writes a token data set with another codec or in another format; or the official release as a token data set.

    Args:
        source: a token data set, or a folder with the official release's `<set>-token.data.bin.gz` files.
        out: the folder to write.
        to: "tokens", "npy", "official", "parquet" or "webdataset".
        codec: of a token data set: "auto", "zero-order", "context" or "learned".
        command: recorded as the command that made it.

    Returns:
        out and files, the names of what was written.

    Raises:
        CodecError: unknown codec.
        StoreError: the source is neither, the format is unknown or cannot hold these rows, or `out` exists.
    """
    if codec not in codecs.NAMES:
        raise CodecError(f"there is no codec {codec!r}", "--codec", nearest_names(codec, codecs.NAMES))
    official = sorted(Path(source).glob(f"*{_OFFICIAL}")) if Path(source).is_dir() else []
    out = Path(out)
    if to == "tokens":
        if official:
            _import(Path(source), official, out, codec, command)
        else:
            recode(source, out, codec, command)
        return {"out": str(out), "files": sorted(path.name for path in out.iterdir())}
    if to not in _EXPORTS:
        raise StoreError(f"there is no format {to!r}", "--to", nearest_names(to, ["tokens", *_EXPORTS]))
    if os.path.lexists(out):
        raise StoreError("exists", str(out), "choose another OUT, or remove it")
    files: list[Path] = []
    splits = {split: TokenDataset(source, split) for split in TokenDataset(source).splits}
    # One numbering for all splits: that of the training rows, or of the only ones there are.
    first = splits["train"] if "train" in splits else next(iter(splits.values()))
    for split, rows in splits.items():
        files += _EXPORTS[to](rows, out, split, first)
    return {"out": str(out), "files": sorted(str(path.relative_to(out)) for path in files)}


def _import(source: Path, files: list[Path], out: Path, codec: str, command: str) -> None:
    """Reads the official release: sets named by their files, codebook.ckpt beside them if it is there."""
    codebook = None
    if (source / "codebook.ckpt").exists():
        import torch

        codebook = torch.load(source / "codebook.ckpt", map_location="cpu", weights_only=True).float().numpy()
    sets = {path.name.removesuffix(_OFFICIAL).rsplit("-", 1)[-1]: path for path in files}
    import_official(
        sets,
        out,
        classes=[f"{label:04d}" for label in range(1000)],
        vocabulary=391 if codebook is None else len(codebook),
        codebook=codebook,
        codec=codec,
        command=command,
    )
