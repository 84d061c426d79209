"""`seit push`: a token data set to the Hugging Face hub, or to any object store."""

from __future__ import annotations

import os
from typing import Any

from seit.errors import StoreError
from seit.store.hub import push_to_hub
from seit.store.remote import is_url, upload

_HUB = "hf://datasets/"


def push(
    tokens: str | os.PathLike[str], url: str, *, public: bool = False, license: str = "other"
) -> dict[str, Any]:
    """Copies a token data set to a URL, from which `TokenDataset` opens it; readers see all of it or nothing.

    Args:
        tokens: the folder.
        url: `hf://datasets/OWNER/NAME`, or what fsspec knows: `s3://bucket/folder`.
        public: whether a new repository on the hub is public.
        license: of its card; what binds the source binds its ids.

    Returns:
        url.

    Raises:
        StoreError: no data set, the URL holds another one, or it cannot be written.
    """
    if not is_url(url):
        raise StoreError("is no URL", url, f"give {_HUB}OWNER/NAME or s3://bucket/folder")
    if url.startswith(_HUB):
        return {"url": push_to_hub(tokens, url.removeprefix(_HUB), private=not public, license=license)}
    return {"url": upload(tokens, url)}
