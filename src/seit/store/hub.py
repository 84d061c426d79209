"""Token data sets on the Hugging Face hub. To open one: `TokenDataset("hf://datasets/OWNER/NAME")`."""

from __future__ import annotations

import os
from pathlib import Path

from seit.errors import StoreError
from seit.store import manifest as manifests
from seit.store.describe import describe


def push_to_hub(path: str | os.PathLike[str], repo: str, private: bool = True, license: str = "other") -> str:
    """Uploads a token data set with a card, in one commit, so that the hub shows all of it or nothing.

    Args:
        path: the folder.
        repo: OWNER/NAME of the data set repository; made if it does not exist.
        private: whether a new repository is private.
        license: of the card; the source's terms bind whoever shares its ids.

    Returns:
        The URL by which `TokenDataset` opens it.

    Raises:
        StoreError: no data set, or the hub refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise StoreError("needs huggingface_hub", repo, "pip install huggingface_hub") from None
    manifest = manifests.read(Path(path) / manifests.NAME)
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        local = {name: Path(path) / name for name in [*(file.file for file in manifest.files), manifests.NAME]}
        api.create_commit(
            repo,
            [CommitOperationAdd("README.md", card(path, license).replace("OWNER/NAME", repo).encode())]
            + [CommitOperationAdd(name, str(file)) for name, file in local.items()],
            repo_type="dataset",
            commit_message="Token data set",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise StoreError(f"the hub refuses ({str(error)[:160]})", repo, "log in: hf auth login") from None
    return f"hf://datasets/{repo}"


def card(path: str | os.PathLike[str], license: str = "other") -> str:
    """Returns a data set card: what the rows are, whose terms apply, and that ids show the pictures."""
    about = describe(path)
    source, tokenizer, (h, w) = about["source"], about["tokenizer"], about["grid"]
    share = about["share_of_files_percent"]
    size = f"{about['bytes_per_image']['total']:.0f} bytes an image"
    size += f", {share:.2f}% of the source's files" if share else ""
    rows = "\n".join(f"| {split} | {count} |" for split, count in about["splits"].items())
    return f"""---
license: {license}
task_categories: [image-classification]
tags: [seit, image-tokens]
---

# Token data set of {source.get("name", "an unnamed source")}

{about["images"]} images as grids of {h} x {w} ids by the tokenizer `{tokenizer.get("name")}`
(identity `{str(tokenizer.get("identity"))[:16]}`), {about["codes_used"]} of {about["vocabulary"]} codes
used, {size}.

| split | rows |
|---|---|
{rows}

**Terms of the source:** {source.get("terms") or "not recorded; ask the source before sharing"}

**These ids are pictures.** Whoever has the tokenizer's decoder turns them back into recognisable images, so what
binds the source (copyright, consent, privacy) binds this data set too.

    pip install seit
    python -c "from seit.store import TokenDataset; print(TokenDataset('hf://datasets/OWNER/NAME')[0])"
"""
