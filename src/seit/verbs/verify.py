"""`seit verify` and `seit repair`: find what is damaged in a token data set, and rebuild only that."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seit.store import TokenDataset
from seit.store import manifest as manifests
from seit.store.remote import RemoteFolder, is_url, local_folder
from seit.store.repair import repair as repair_store
from seit.store.verify import verify as verify_store


def verify(tokens: str | os.PathLike[str], *, decode: bool = False) -> dict[str, Any]:
    """Reads every byte of a token data set and names every damaged file, shard and row.

    Args:
        tokens: the folder, or a URL, whose files are read without being kept.
        decode: also decode every row and compare it with its checksum.

    Returns:
        whole (bool), damages: file, what, rows (numbers within the shard, or None) of each.

    Raises:
        StoreError: there is no token data set.
    """
    if is_url(tokens):
        RemoteFolder(os.fspath(tokens)).must_exist()
    elif not (Path(tokens) / manifests.NAME).exists():
        manifests.read(Path(tokens) / manifests.NAME)  # refuses it: nothing there is not the same as damage
    damages = verify_store(tokens, decode)
    return {"whole": not damages, "damages": [{**asdict(damage), "text": str(damage)} for damage in damages]}


def repair(
    tokens: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Tokenizes again the rows that `verify` finds damaged, from the source images, and nothing else.

    Args:
        tokens: the folder.
        source: the images, where they have moved.
        tokenizer: the data set's tokenizer, where it is not a bundled one.
        device: auto, cpu, cuda or mps.

    Returns:
        repaired: file, rows (tokenized again), changed (rows whose ids differ from the recorded checksum) of each.

    Raises:
        StoreError: the manifest is damaged, or the source does not hold the rows.
    """
    from seit.device import resolve
    from seit.tokenizing.again import Again, reopened
    from seit.tokenizing.encoding import Encoder, Kept
    from seit.verbs.tokenize import tokenizer_of

    dataset = TokenDataset(local_folder(tokens, "change a local copy, then seit push it"))
    encoder = tokenizer_of(dataset, tokenizer).to(resolve(device))
    about = dataset.manifest.source
    recorded = str(dataset.tokenizer.get("provenance", {}).get("precision", "float32"))
    kept = Kept.recorded(dataset.tokenizer)
    images = reopened(about, source)
    again = Again(os.fspath(tokens), about, dataset.views, images, Encoder(encoder, recorded, kept=kept))
    found = repair_store(tokens, again.rows, encoder.codebook.cpu().numpy())
    return {"repaired": [asdict(one) for one in found]}
