"""The one way to a repository of the Hugging Face hub: one commit, upon exactly the state that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from seit.errors import SeitError

CARD = "README.md"
_CURE = "--overwrite replaces it, or name another repository"
_BEGIN, _END = "<!-- seit writes from here -->", "<!-- seit writes to here -->"


def commit(
    repo: str,
    kind: str,
    contents: Mapping[str, Path | bytes],
    card: str,
    *,
    holder: str,
    replaces: Callable[[bytes], Iterable[str]],
    private: bool = True,
    overwrite: bool = False,
    error: type[SeitError] = SeitError,
) -> str:
    """Puts files and their card into a repository, all at once; makes the repository if there is none.

    What somebody wrote around our part of the card stays, and so do files that we did not write.

    Args:
        repo: OWNER/NAME.
        kind: "dataset" or "model".
        contents: path in the repository -> what it shall hold.
        card: Markdown with its YAML head; the head's fields are added to those that are there.
        holder: the file that tells what a repository holds.
        replaces: given the bytes of the holder that is there, returns the files that it names, of which those that
            `contents` lacks are removed; refuses what is not an earlier state of the same thing.
        private: whether a new repository is private.
        overwrite: whether to replace another thing of this kind, a card without our part, and files of these names.
        error: what to raise.

    Returns:
        The page of the commit.

    Raises:
        SeitError: the repository holds something else, or the hub refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    except ImportError:
        raise error("needs huggingface_hub", repo, "pip install huggingface_hub") from None
    api = HfApi()

    def there(name: str) -> bytes:
        return Path(api.hf_hub_download(repo, name, repo_type=kind, revision=state.sha)).read_bytes()

    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        state: Any = api.repo_info(repo, repo_type=kind)
        names = {file.rfilename for file in state.siblings or []}
        named: set[str] = set()
        if holder in names:
            try:
                named = {holder, *replaces(there(holder))}
            except SeitError as other:
                if not overwrite:
                    raise error(other.what, repo, _CURE) from None
        if not overwrite and (taken := sorted((names & set(contents)) - named)):
            raise error(f"holds another {taken[0]}", repo, _CURE)
        text = _merged(card, there(CARD).decode() if CARD in names else "", overwrite)
        if text is None:
            raise error(f"holds a {CARD} that seit did not write", repo, _CURE)
        add = [CommitOperationAdd(name, data) for name, data in contents.items()]
        drop = [CommitOperationDelete(name) for name in sorted((named & names) - {CARD, *contents})]
        done = api.create_commit(
            repo,
            [CommitOperationAdd(CARD, text.encode()), *add, *drop],
            repo_type=kind,
            commit_message=f"seit: {kind}",
            parent_commit=state.sha,  # whatever was committed since is not overwritten
        )
    except SeitError:
        raise
    except Exception as failure:  # the hub's own errors, and those of whichever HTTP library it uses
        what = " ".join(str(failure).split())[:160]
        raise error(f"the hub refuses ({what})", repo, "check the name, and log in: hf auth login") from failure
    return str(done.commit_url)


def _merged(card: str, old: str, overwrite: bool) -> str | None:
    """Returns our card inside what others wrote around it; None if they wrote a card of their own."""
    from huggingface_hub import RepoCard

    ours, theirs = RepoCard(card), RepoCard(old if old.lstrip().startswith("---") else f"---\n\n---\n{old}")
    part = f"{_BEGIN}\n{ours.text.strip()}\n{_END}\n"
    before, begun, rest = theirs.text.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if begun and ended:
        theirs.text = f"{before}{part.rstrip()}{after}"
    elif overwrite or not theirs.text.strip():
        theirs.text = f"\n{part}"
    else:
        return None
    head = ours.data.to_dict()
    tags = dict.fromkeys([*(theirs.data.get("tags") or []), *head.get("tags", [])])
    for name, value in head.items():
        chosen = name == "license" and value != "other"
        theirs.data[name] = value if chosen else theirs.data.get(name, value)
    theirs.data["tags"] = list(tags)
    return str(theirs)
