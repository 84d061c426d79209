"""`seit convert`: between codecs, and between token data sets and other people's formats."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seit import codecs, files
from seit.errors import CodecError, StoreError, nearest_names
from seit.store import TokenDataset, TokenRows
from seit.store import manifest as manifests
from seit.store.about import About
from seit.store.chunks import reading
from seit.store.exports import export_parquet, export_webdataset
from seit.store.imports import import_folder
from seit.store.npy import export_npy
from seit.store.official import export_official, import_official
from seit.store.publish import disk_errors
from seit.store.remote import is_url, local_folder
from seit.store.save import recode

_OFFICIAL = "-token.data.bin.gz"
_OFFICIAL_CODES = 510  # what that format can hold; a data set keeps those that occur

_EXPORTS: dict[str, Callable[[TokenRows, Path, str], list[Path]]] = {
    "npy": lambda rows, out, split: export_npy(rows, out / split),
    "parquet": lambda rows, out, split: [export_parquet(rows, out, split)],
    "webdataset": export_webdataset,
}


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str = "tokens",
    codec: str = "auto",
    command: str = "",
) -> dict[str, Any]:
    """Writes a token data set with another codec or in another format; or another format as a token data set.

    Args:
        source: a token data set; a folder with the official release's `<set>-token.data.bin.gz` files; or one with
            ids as `<split>/ids.npy`, `<split>*.parquet` or `<split>*.tar`.
        out: the folder to write.
        to: "tokens", "npy", "official", "parquet" or "webdataset".
        codec: of a token data set: "auto", "zero-order", "context" or "learned".
        command: recorded as the command that made it.

    Returns:
        out and files, the names of what was written.

    Raises:
        CodecError: unknown codec.
        StoreError: the source is none of these, the format is unknown or cannot hold these rows, or `out` exists.
    """
    if codec not in codecs.NAMES:
        raise CodecError(f"there is no codec {codec!r}", "--codec", nearest_names(codec, codecs.NAMES))
    known = ["tokens", "official", *_EXPORTS]
    if to not in known:
        raise StoreError(f"there is no format {to!r}", "--to", nearest_names(to, known))
    out = local_folder(out, "write it here, then seit push")
    if to == "tokens":
        _to_tokens(source, out, codec, command)
    else:
        if os.path.lexists(out):
            raise StoreError("exists", str(out), "choose another OUT, or remove it")
        partial = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        try:
            with disk_errors(out):
                _export(source, partial, to)
                os.rename(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return {"out": str(out), "files": written}


def _export(source: str | os.PathLike[str], out: Path, to: str) -> None:
    splits = {split: TokenDataset(source, split) for split in TokenDataset(source).splits}
    if to == "official":
        # One numbering for all splits: that of the training rows, or of the only ones there are.
        first = splits["train"] if "train" in splits else next(iter(splits.values()))
        for split, rows in splits.items():
            export_official(rows, out, f"imagenet1k-{split}", first)
        _codebook_for_torch(out)
        return
    for split, rows in splits.items():
        _EXPORTS[to](rows, out, split)
    About.write(TokenDataset(source), out)


def _codebook_for_torch(out: Path) -> None:
    """Writes codebook.ckpt, which the release's code reads, from codebook.npy."""
    if (out / "codebook.npy").exists():
        import torch

        with files.atomic(out / "codebook.ckpt") as temporary:
            torch.save(torch.from_numpy(np.load(out / "codebook.npy")), temporary)


def _to_tokens(source: str | os.PathLike[str], out: Path, codec: str, command: str) -> None:
    official = sorted(Path(source).glob(f"*{_OFFICIAL}")) if not is_url(source) else []
    if official:
        _from_official(Path(source), official, out, codec, command)
    elif is_url(source) or not Path(source).is_dir() or (Path(source) / manifests.NAME).exists():
        recode(source, out, codec, command)
    else:
        import_folder(source, out, codec, command)


def _from_official(source: Path, data: list[Path], out: Path, codec: str, command: str) -> None:
    """Reads the official release: sets named by their files, codebook.ckpt beside them if it is there."""
    codebook = None
    if (source / "codebook.ckpt").exists():
        with reading(source / "codebook.ckpt", "fetch it again"):
            import torch

            codebook = torch.load(source / "codebook.ckpt", map_location="cpu", weights_only=True).float().numpy()
            if codebook.ndim != 2:
                raise ValueError(f"vectors are {list(codebook.shape)}, not [K, d]")
    import_official(
        {path.name.removesuffix(_OFFICIAL).rsplit("-", 1)[-1]: path for path in data},
        out,
        classes=[f"{label:04d}" for label in range(1000)],
        vocabulary=_OFFICIAL_CODES if codebook is None else len(codebook),
        codebook=codebook,
        codec=codec,
        command=command,
    )
