"""`seit push`: a token data set to the Hugging Face hub, or to any object store."""

from __future__ import annotations

import os
from typing import Any

from seit.errors import StoreError
from seit.store.hub import push_to_hub
from seit.store.remote import is_url, upload

_HUB = "hf://datasets/"


def push(
    tokens: str | os.PathLike[str],
    url: str,
    *,
    public: bool = False,
    license: str = "other",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Copies a token data set to a URL, from which `TokenDataset` opens it; readers see all of it or nothing.

    A data set that has grown is pushed to the same URL again. Files of anybody else are left alone.

    Args:
        tokens: the folder.
        url: `hf://datasets/OWNER/NAME`, or what fsspec knows: `s3://bucket/folder`.
        public: whether a new repository on the hub is public.
        license: of its card; what binds the source binds its ids.
        overwrite: on the hub, which keeps the history, whether to replace another data set or somebody's card.

    Returns:
        url.

    Raises:
        StoreError: no data set, the URL holds another one, or it cannot be written.
    """
    if not is_url(url):
        raise StoreError("is not a URL", url, f"give {_HUB}OWNER/NAME or s3://bucket/folder")
    if url.startswith(_HUB):
        repo = url.removeprefix(_HUB).rstrip("/")
        return {"url": push_to_hub(tokens, repo, private=not public, license=license, overwrite=overwrite)}
    if url.startswith("hf://"):
        raise StoreError("is not a data set repository", url, f"give {_HUB}OWNER/NAME")
    if overwrite:
        raise StoreError("replaces nothing outside of the hub", "--overwrite", "choose another URL")
    return {"url": upload(tokens, url)}
