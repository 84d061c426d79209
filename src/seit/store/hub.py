"""Token data sets on the Hugging Face hub. To open one: `TokenDataset("hf://datasets/OWNER/NAME")`."""

from __future__ import annotations

import os

from seit import hub
from seit.errors import StoreError
from seit.store import manifest as manifests
from seit.store.describe import describe
from seit.store.remote import check_earlier, local_folder, whole


def push_to_hub(
    path: str | os.PathLike[str], repo: str, private: bool = True, license: str = "other", overwrite: bool = False
) -> str:
    """Uploads a token data set with a card, in one commit, so that the hub shows all of it or nothing.

    Args:
        path: the folder.
        repo: OWNER/NAME of the data set repository; made if it does not exist.
        private: whether a new repository is private.
        license: of a new card; the source's terms bind whoever shares its ids.
        overwrite: whether to replace another data set, or a card that seit did not write.

    Returns:
        The URL by which `TokenDataset` opens it.

    Raises:
        StoreError: no data set, or a damaged one; the repository holds something else; or the hub refuses.
    """
    folder = local_folder(path, "push a folder")
    data, manifest = whole(folder)

    def replaces(there: bytes) -> list[str]:
        old = manifests.from_bytes(there, repo)
        if not overwrite:
            check_earlier(old, manifest, repo)
        return [file.file for file in old.files]

    hub.commit(
        repo,
        "dataset",
        {**{file.file: folder / file.file for file in manifest.files}, manifests.NAME: data},
        card(folder, license, repo),
        holder=manifests.NAME,
        replaces=replaces,
        private=private,
        overwrite=overwrite,
        error=StoreError,
    )
    return f"hf://datasets/{repo}"


def card(path: str | os.PathLike[str], license: str = "other", repo: str = "OWNER/NAME") -> str:
    """Returns a data set card: what the rows are, whose terms apply, and that ids show the pictures."""
    from huggingface_hub import DatasetCardData

    about = describe(path)
    source, tokenizer, (h, w) = about["source"], about["tokenizer"], about["grid"]
    share = about["share_of_files_percent"]
    size = f"{about['bytes_per_image']['total']:.0f} bytes an image"
    size += f", {share:.2f}% of the source's files" if share else ""
    rows = "\n".join(f"| {split} | {count} |" for split, count in about["splits"].items())
    head = DatasetCardData(
        license=license, task_categories=["image-classification"], tags=["seit", "image-tokens"]
    ).to_yaml()
    return f"""---
{head}
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
    python -c "from seit.store import TokenDataset; print(TokenDataset('hf://datasets/{repo}')[0])"
"""
