"""`seit tokenize`: images -> ids -> token data set."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seit import codecs, tokenizers
from seit.device import resolve
from seit.errors import CodecError, SeitError, StoreError, nearest_names
from seit.images import Image, Source, decode, jpeg_payload_bytes, open_source, to_view
from seit.progress import progress
from seit.store import RowTable, TokenDataset, TokenWriter, is_finished, source_hash
from seit.store.describe import describe
from seit.tokenizers.base import Tokenizer

_SHARD_ROWS = 4096
_BATCH_PIXELS = 1 << 22


def tokenize(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] = "patch8",
    size: int | None = None,
    codec: str = "auto",
    device: str = "auto",
    command: str = "",
) -> dict[str, Any]:
    """Turns images into a token data set; an interrupted call goes on where it stopped.

    Args:
        source: a folder, tar, or embedded sample (see `seit.images.open_source`).
        out: the folder to write; it appears when it is whole.
        tokenizer: a bundled name or a file.
        size: side of the square view in pixels, where it shall not be the tokenizer's own.
        codec: "auto", "zero-order", "context" or "learned".
        device: auto, cpu, cuda or mps.
        command: recorded as the command that made it.

    Returns:
        What `seit info` says of it.

    Raises:
        ImageError: no images, or one cannot be read.
        CodecError: unknown codec.
        TokenizerError: unknown tokenizer, or a size that its patch does not divide.
        StoreError: `out` holds something else.
    """
    if codec not in codecs.NAMES:
        raise CodecError(f"there is no codec {codec!r}", "--codec", nearest_names(codec, codecs.NAMES))
    encoder = tokenizers.load(tokenizer, resolve(device))
    torch.backends.cudnn.allow_tf32 = False  # its rounding moves ids
    if size is not None:
        encoder.preprocessing = {**encoder.preprocessing, "size": size}
    side = encoder.preprocessing["size"]
    grid = encoder.grid(side, side)
    images = open_source(source)
    plan = _plan(images, encoder, codec)
    if is_finished(out, plan):
        return describe(out)
    writer = TokenWriter(
        out,
        tokenizer={
            "name": encoder.name,
            "identity": encoder.identity(),
            "provenance": encoder.provenance(),
            "preprocessing": encoder.preprocessing,
        },
        codebook=encoder.codebook.cpu().numpy(),
        grid=grid,
        classes=images.classes,
        source={"name": images.name, "split_rule": images.split_rule},
        plan=plan,
        codec=codec,
        command=command,
    )
    shards = list(_shards(images))
    waiting = [shard for shard in shards if shard.number not in writer.finished]
    done = len(images) - sum(len(shard.rows) for shard in waiting)
    try:
        with progress(len(images), "tokenize", "images", done) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            for shard in waiting:
                ids, rows = encode_images(encoder, [images[i] for i in shard.rows], pool, bar)
                labels = np.asarray(images.labels[shard.rows.start : shard.rows.stop]) if images.classes else None
                writer.write(shard.number, shard.split, ids, labels, rows)
    except SeitError:
        if not writer.finished:  # nothing to go on from; left there, it would refuse the mended source
            shutil.rmtree(writer.partial, ignore_errors=True)
        raise
    writer.commit()
    return describe(out)


@dataclass(frozen=True)
class _Shard:
    """Consecutive images of one split that are staged together."""

    number: int
    split: str
    rows: range


def _shards(images: Source) -> Iterator[_Shard]:
    """Cuts a source into shards; none mixes splits."""
    number = 0
    for split, count in images.splits.items():
        whole = images.split(split)
        for start in range(0, count, _SHARD_ROWS):
            yield _Shard(number, split, whole[start : start + _SHARD_ROWS])
            number += 1


def _plan(images: Source, encoder: Tokenizer, codec: str) -> str:
    """Returns a hash of what will be written: the images' names and labels, the encoder, the cut into shards."""
    digest = hashlib.sha256()
    described = [
        images.name,
        images.classes,
        images.split_rule,
        encoder.identity(),
        codec,
        _SHARD_ROWS,
        images.splits,
    ]
    digest.update(json.dumps(described).encode())
    digest.update("\0".join(images.names).encode())
    digest.update(np.ascontiguousarray(images.labels).tobytes())
    return digest.hexdigest()


def encode_images(
    encoder: Tokenizer, images: Sequence[Image], pool: ThreadPoolExecutor, bar: progress
) -> tuple[np.ndarray, RowTable]:
    """Encodes images batch by batch while the next batch is decoded.

    Args:
        encoder: the tokenizer.
        images: at least one.
        pool: where images are read and decoded.
        bar: told how many are done.

    Returns:
        ids [n, h, w], the tokenizer's own, and where each row came from.
    """
    size = max(1, _BATCH_PIXELS // encoder.preprocessing["size"] ** 2)
    batches = [images[start : start + size] for start in range(0, len(images), size)]

    def read(batch: Sequence[Image]) -> list[Any]:
        return [pool.submit(_read, image, encoder.preprocessing) for image in batch]

    ids: list[np.ndarray] = []
    facts: list[tuple[int, int, int, int, int]] = []
    ahead = read(batches[0])
    for number in range(len(batches)):
        reading, ahead = ahead, read(batches[number + 1]) if number + 1 < len(batches) else []
        views, known = zip(*(future.result() for future in reading), strict=True)
        ids.append(encode_views(encoder, np.stack(views)))
        facts += known
        bar.update(len(known))
    columns = np.array(facts, dtype=np.uint64).T
    return np.concatenate(ids), RowTable([image.name for image in images], *columns)


def _read(image: Image, preprocessing: dict[str, Any]) -> tuple[np.ndarray, tuple[int, int, int, int, int]]:
    """Returns an image's view, and its bytes, scan bytes, hash, width and height."""
    data = image.read()
    picture = decode(data, image.name)
    payload = jpeg_payload_bytes(data) if data[:2] == b"\xff\xd8" else len(data)
    return to_view(picture, preprocessing), (len(data), payload, source_hash(data), *picture.size)


@torch.inference_mode()
def encode_views(encoder: Tokenizer, views: np.ndarray) -> np.ndarray:
    """Returns the ids [n, h, w] of uint8 views [n, H, W, 3]."""
    pixels = torch.from_numpy(views).to(encoder.codebook.device)
    images = pixels.permute(0, 3, 1, 2).float().div_(255)  # channels-last in memory, as convolutions like it
    return encoder.encode(images).cpu().numpy()


def tokenizer_of(dataset: TokenDataset, given: str | os.PathLike[str] | None = None) -> Tokenizer:
    """Returns the tokenizer that made a data set.

    Raises:
        StoreError: the given (or the bundled one of that name) is another.
        TokenizerError: there is none of that name.
    """
    about = dataset.tokenizer
    # A manifest may name anything: only what the user names is fetched.
    found = tokenizers.load(given or about["name"], download=given is not None)
    found.preprocessing = about["preprocessing"]
    if found.identity() != about["identity"]:
        raise StoreError(
            f"was made by another tokenizer than this {found.name!r}",
            dataset.path,
            "give the one that made it with --tokenizer",
        )
    return found
