"""Brings a tokenizer's files from the Hugging Face hub: those that the user named, pinned to a commit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from seit.errors import TokenizerError
from seit.tokenizers.checkpoints import SUFFIXES

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?P<file>(/[\w.-]+)*)(@(?P<revision>[\w./-]+))?")
_OURS, _DIFFUSERS = "model.safetensors", "diffusion_pytorch_model.safetensors"
_SMALL = (".json", ".yaml", ".yml")


def is_hub_id(name: str) -> bool:
    """Whether a name reads as `owner/name`, `owner/name/file` or either with `@revision`."""
    found = _ID.fullmatch(name)
    if found is None or {".", ".."} & set(name.split("/")):
        return False
    return bool(found["file"] or found["revision"]) or not name.endswith(SUFFIXES)


def fetch(name: str, *, download: bool = True) -> tuple[Path, str]:
    """Brings the weights and the small configuration files of one hub repository into huggingface_hub's cache.

    Args:
        name: `owner/name`, or `owner/name/path/of/a/file` in a repository with several weights; `@revision` (a
            branch, tag or commit) behind either.
        download: False looks in the cache alone, as HF_HUB_OFFLINE=1 does.

    Returns:
        The local file, or the folder if it is diffusers'; and the name pinned to the commit.

    Raises:
        TokenizerError: no such repository, file or revision; several weights and none named; not in the cache
            and no network.
    """
    import huggingface_hub
    from huggingface_hub import constants

    parts = _ID.fullmatch(name)
    assert parts is not None
    repo, wanted, revision = parts["repo"], parts["file"].lstrip("/"), parts["revision"]
    offline = not download or constants.is_offline_mode()
    try:
        if offline:
            root = _cached(Path(constants.HF_HUB_CACHE), repo, revision or "main")
            files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
            chosen = _choose(files, wanted, name)
        else:
            about = huggingface_hub.HfApi().model_info(repo, revision=revision)
            files = [sibling.rfilename for sibling in about.siblings or []]
            chosen = _choose(files, wanted, name)
            beside = [file for file in files if file.endswith(_SMALL)]
            root = Path(
                huggingface_hub.snapshot_download(repo, revision=about.sha, allow_patterns=[chosen, *beside])
            )
    except FileNotFoundError as error:
        raise TokenizerError("is not in the cache", name, "load it once with the network on") from error
    except TokenizerError:
        raise
    except Exception as error:  # the hub's own errors, and those of whichever HTTP library it uses
        raise TokenizerError(
            f"cannot be had from the hub ({error})",
            name,
            "check the name and the network, or set HF_HUB_OFFLINE=1 to use the cache",
        ) from error
    pinned = f"{repo}{'/' + wanted if wanted else ''}@{root.name}"
    return (root if chosen == _DIFFUSERS else root / chosen), pinned


def _cached(cache: Path, repo: str, revision: str) -> Path:
    """Returns the folder of a commit in huggingface_hub's cache, by its documented layout.

    (`snapshot_download` offline refuses a folder that lacks files which nobody wanted.)

    Raises:
        FileNotFoundError: it is not there.
    """
    folder = cache / f"models--{repo.replace('/', '--')}"
    pointer = folder / "refs" / revision
    root = folder / "snapshots" / (pointer.read_text() if pointer.is_file() else revision)
    if not root.is_dir():
        raise FileNotFoundError(root)
    return root


def _choose(files: Sequence[str], wanted: str, name: str) -> str:
    """Returns the weights to take out of a repository's files.

    Raises:
        TokenizerError: the named file is not there; or none is named, and there are none or several.
    """
    weights = sorted(file for file in files if file.endswith(SUFFIXES))
    if wanted:
        if wanted not in files:
            raise TokenizerError(f"has no file {wanted}", name, f"its weights: {', '.join(weights) or 'none'}")
        return wanted
    for usual in (_OURS, _DIFFUSERS):
        if usual in weights:
            return usual
    if len(weights) != 1:
        raise TokenizerError(
            f"has {len(weights)} files of weights{': ' if weights else ''}{', '.join(weights[:12])}",
            name,
            "name one: owner/name/file" if weights else "choose another repository",
        )
    return weights[0]
