"""`seit tokenizer convert`: anybody's tokenizer as a folder of ours, and that folder on the hub."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from seit import __version__, hub, tokenizers
from seit.errors import TokenizerError
from seit.files import write_bytes, write_json
from seit.tokenizers.base import Tokenizer

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def convert_tokenizer(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, license: str = ""
) -> dict[str, Any]:
    """Writes a tokenizer as a folder: model.safetensors, config.json for people and programs, README.md.

    The weights are kept to the last bit, so the ids stay what they were.

    Args:
        source: whatever `seit.tokenizers.load` opens.
        out: the folder to write; it must not exist or be empty.
        license: of the weights, as the hub spells it ("mit"), for the model card.

    Returns:
        out, name, family, identity, vocabulary, parameters, bytes.

    Raises:
        TokenizerError: `source` cannot be opened, or `out` holds something.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TokenizerError("exists already", str(out), "remove it or choose another --out")
    tokenizer = tokenizers.load(source)
    recorded = tokenizers.card(source)
    made = {
        **recorded,
        "converted_from": Path(source).name if Path(source).exists() else tokenizer.name,
        "converted_with": {"seit": __version__, "torch": torch.__version__},
        **({"license": license} if license else {}),
    }
    if Path(source).is_file():
        made["source_sha256"] = _sha256(Path(source))
    tokenizer.name = out.name
    out.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "library": "seit",
        "family": tokenizer.family,
        "name": tokenizer.name,
        "config": tokenizer.config(),
        "preprocessing": tokenizer.preprocessing,
        "vocabulary": tokenizer.vocabulary,
        "code_dim": tokenizer.codebook.shape[1],
        "patch": tokenizer.patch,
        "identity": tokenizer.identity(),
        "card": made,
    }
    write_json(out / CONFIG, described)
    write_bytes(out / CARD, model_card(tokenizer, described["identity"], made).encode())
    tokenizers.save(tokenizer, out / WEIGHTS, made)  # last: without it the folder is none of ours
    return {
        "out": str(out),
        **{key: described[key] for key in ("name", "family", "identity", "vocabulary")},
        "parameters": sum(value.numel() for value in tokenizer.state_dict().values()),
        "bytes": (out / WEIGHTS).stat().st_size,
    }


def push_to_hub(folder: str | os.PathLike[str], repo: str, *, private: bool = True, overwrite: bool = False) -> str:
    """Uploads a converted tokenizer's three files to a model repository of the Hugging Face hub, in one commit.

    Args:
        folder: what `convert_tokenizer` wrote.
        repo: `owner/name`; made if it does not exist.
        private: whether a new repository is private.
        overwrite: whether to replace another model, or a card that seit did not write.

    Returns:
        The page of the commit.

    Raises:
        TokenizerError: the folder is not whole, the repository holds something else, or the hub refuses.
    """
    folder = Path(folder)
    missing = [name for name in (WEIGHTS, CONFIG, CARD) if not (folder / name).is_file()]
    if missing:
        raise TokenizerError(f"has no {', '.join(missing)}", str(folder), "write it with `seit tokenizer convert`")

    def replaces(there: bytes) -> list[str]:
        if not overwrite and _identity(there) != _identity((folder / CONFIG).read_bytes()):
            raise TokenizerError("already holds another model", repo)
        return [WEIGHTS, CONFIG]

    return hub.commit(
        repo,
        "model",
        {name: folder / name for name in (WEIGHTS, CONFIG)},
        (folder / CARD).read_text(),
        holder=CONFIG,
        replaces=replaces,
        private=private,
        overwrite=overwrite,
        error=TokenizerError,
    )


def _identity(config: bytes) -> str | None:
    """Returns the identity in a config.json of ours; None in one of another kind."""
    try:
        return json.loads(config)["identity"]
    except (ValueError, KeyError, TypeError):
        return None


def model_card(tokenizer: Tokenizer, identity: str, made: dict[str, Any]) -> str:
    """Returns the hub's README.md of a tokenizer: what it is, how to use it, what was recorded about it."""
    license = f"license: {made['license']}\n" if "license" in made else ""
    size = tokenizer.preprocessing["size"]
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = tokenizer.grid(height, width)
    facts = {
        "family": tokenizer.family,
        "codes": f"{tokenizer.vocabulary} of width {tokenizer.codebook.shape[1]}",
        f"ids of a view of {height} x {width} pixels": f"{rows} x {columns}",
        "preprocessing": ", ".join(f"{key} {value}" for key, value in tokenizer.preprocessing.items()),
        "identity": f"`{identity}`",
        "made from": made["converted_from"],
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    quality = "".join(
        f"| {source} | {found['images']} | {found['side']} | {found['psnr_db']} | {found['ssim']} |\n"
        for source, found in made.get("quality", {}).items()
    )
    if quality:
        head = "| held-out pictures | number | side, pixels | PSNR, dB | SSIM |\n|---|---|---|---|---|\n"
        quality = f"\n## Quality\n\n{head}{quality}"
    return f"""---
library_name: seit
tags:
- image-tokenizer
- vector-quantization
{license}---

# {tokenizer.name}

A frozen image tokenizer for seit: pictures to integers and back.

| | |
|---|---|
{table}

```python
from seit import tokenizers

tokenizer = tokenizers.load("owner/{tokenizer.name}")  # or this folder
ids = tokenizer.encode(images)  # float32 [B, 3, {height}, {width}] in [0, 1] -> int64 [B, {rows}, {columns}]
```
{quality}"""


def _sha256(path: Path) -> str:
    """Returns the hex SHA-256 of a file, read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
