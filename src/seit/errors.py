"""The one family of errors that a user's mistake, bad data or a full disk ends in.

Every message is one sentence of three parts: what is wrong, where, what to do. The command line
prints it and exits with 1; a program catches `SeitError`, or the subclass of the folder it called.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeitError(Exception):
    """Something the caller can mend.

    Args:
        what: what is wrong, in the caller's own words and values.
        where: the file, row, option or argument.
        cure: what to do about it.
    """

    def __init__(self, what: str, where: str = "", cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return shown(f"{text}; {self.cure}" if self.cure else text)

    def __reduce__(self):
        return type(self), (self.what, self.where, self.cure)


class BusyError(SeitError):
    """Another process, or another thread of this one, is writing where the caller wants to.

    Args:
        where: the folder.
    """

    def __init__(self, where: str) -> None:
        super().__init__("is being written by another process", where, "wait for it, or stop it and run again")

    def __reduce__(self):
        return type(self), (self.where,)


class MissingPackageError(SeitError, ImportError):
    """A step needs a package that is not installed.

    Args:
        package: its import name.
        extra: the extra of seit that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self._arguments = package, extra
        super().__init__("is needed here and not installed", package, f'run pip install "seit[{extra}]"')

    def __reduce__(self):
        return type(self), self._arguments


# Reading and writing token data sets takes none of these.
_EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "PIL": "train",
    "matplotlib": "train",
    "jinja2": "train",
    "yaml": "train",
    "huggingface_hub": "train",
    "fsspec": "remote",
    "s3fs": "remote",
    "ray": "ray",
    "diffusers": "diffusers",
    "torch_fidelity": "rfid",
}


def missing_package(error: ModuleNotFoundError) -> Exception:
    """Returns the one-line error for an import that failed; `error` itself where no extra of seit would mend it."""
    package = (error.name or "").partition(".")[0]
    return MissingPackageError(package, _EXTRAS[package]) if package in _EXTRAS else error


class ImageError(SeitError):
    """An image or a source of images cannot be read."""


class TokenizerError(SeitError):
    """A tokenizer is unknown, damaged, or cannot take this image."""


class CodecError(SeitError):
    """Ids cannot be coded, or bytes do not decode to ids."""


class StoreError(SeitError):
    """A token data set is absent, damaged, or of another kind than asked for."""


class ModelError(SeitError):
    """A trunk, stem or classifier is unknown or does not fit its input."""


class RecipeError(SeitError):
    """A recipe is unknown or contradicts itself."""


class RunError(SeitError):
    """A run folder is absent, unfinished or does not fit the data."""


def shown(text: str) -> str:
    """Returns a name as a terminal may show it: what is no printable character is spelt out.

    Names come from strangers' archives and lists; control characters in them could move the cursor, hide text or
    type into the terminal, and marks that turn the writing direction could make one name look like another.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def nearest_names(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Says which of the known names come nearest, for an unknown-name error.

    Up to 40 names are all listed; of more (timm knows a thousand trunks) only the near misses are.

    Args:
        name: what the user wrote.
        known: every valid name.
        limit: most near misses named.

    Returns:
        A phrase such as "did you mean 'patch8'? (known: patch4, patch8)".
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    guess = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    if len(names) <= 40:
        return f"{guess}known: {', '.join(names)}"
    return f"{guess}{len(names)} names are known{'' if near else ', such as ' + ', '.join(names[:5])}"
