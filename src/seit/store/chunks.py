"""Rows from elsewhere, read twice: once to check and describe them all, once to write them.

What the first reading sees is the import's plan, chunk by chunk, so an interrupted import goes on only over the
very same rows, whichever file of the source was changed meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from seit.errors import SeitError, StoreError, nearest_names
from seit.progress import progress
from seit.store.about import About
from seit.store.entries import MAX_CLASSES, check_split
from seit.store.row_sequence import hashed
from seit.store.rows import RowTable
from seit.store.staging import Part, regroup
from seit.store.writer import TokenWriter

CELLS = 1 << 22  # ids in memory at a time


@dataclass(frozen=True)
class Chunk:
    """Some rows of one split.

    Attributes:
        split: "train", say.
        ids: integers [n, h, w], or flat [n, h * w].
        labels: class numbers [n] (-1 or NaN: unknown), class names [n] ("" or None: unknown), bool or float [n, C],
            or None.
        names: the source's, where they are known.
        where: the file, for errors.
    """

    split: str
    ids: np.ndarray
    labels: np.ndarray | None
    names: Sequence[str] | None
    where: str


@dataclass
class Survey:
    """What all rows are.

    Attributes:
        prints: a hash of each chunk.
        rows: of all chunks.
        shape: of a row's ids.
        top: the largest id.
        kind: "class", "multi", "soft", or "none" without labels.
        columns: C of multi and soft labels.
        numbers: one more than the largest class number.
        names: the class names that occur.
    """

    prints: list[bytes] = field(default_factory=list)
    rows: int = 0
    shape: tuple[int, ...] = ()
    top: int = -1
    kind: str = "none"
    columns: int = 0
    numbers: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, chunk: Chunk, about: About | None) -> None:
        """Takes in one more chunk; `about` is what its rows are, where that is known.

        Raises:
            StoreError: its rows do not fit `about` or the other rows, or are none.
        """
        ids = chunk.ids
        check_split(chunk.split)
        if about is not None:
            about.tokenizer_ids(ids, chunk.where)
        elif not np.issubdtype(ids.dtype, np.integer) or ids.ndim < 2:
            raise StoreError(f"ids are {ids.dtype} {list(ids.shape)}", chunk.where, "give integers [n, h, w]")
        elif self.shape not in ((), ids.shape[1:]):
            raise StoreError(
                f"ids are {list(ids.shape[1:])} a row, others {list(self.shape)}", chunk.where, "give one grid"
            )
        self.shape, self.top = ids.shape[1:], max(self.top, int(ids.max(initial=0)))
        self.rows += len(ids)
        self.prints.append(_print(chunk))
        labels = tidied(chunk)
        if labels is None:
            return
        kind = "class" if labels.ndim == 1 else "multi" if labels.dtype == bool else "soft"
        columns = labels.shape[1] if labels.ndim == 2 else 0
        if (self.kind, self.columns) not in (("none", 0), (kind, columns)):
            raise StoreError(f"has {kind} labels, others {self.kind}", chunk.where, "label all rows alike")
        self.kind, self.columns = kind, columns
        if labels.dtype == object:
            self.names.update(filter(None, labels.tolist()))
            if len(self.names) > MAX_CLASSES:
                raise StoreError(f"has more than {MAX_CLASSES} class names", chunk.where, "are these classes?")
        elif kind == "class":
            self.numbers = max(self.numbers, int(labels.max(initial=-1)) + 1)
        if self.names and self.numbers:
            what = f"some labels are names such as {min(self.names)!r}, others numbers"
            raise StoreError(what, chunk.where, "use one of both")

    def classes(self) -> list[str]:
        """Returns class names where the source tells none: its labels if they are names, else their numbers."""
        return sorted(self.names) or [str(i) for i in range(self.columns or self.numbers)]


def write_chunks(
    out: str | os.PathLike[str],
    about: About | Callable[[Survey], About],
    chunks: Callable[[], Iterator[Chunk]],
    codec: str,
    command: str,
) -> Path:
    """Makes a token data set of all chunks.

    Args:
        out: the folder to make.
        about: what the rows are, or what tells it from a survey of them.
        chunks: reads them all, from the beginning, each time it is called.
        codec: which codec to fit.
        command: how to repeat this, recorded.

    Returns:
        OUT.

    Raises:
        StoreError: rows do not fit each other or `about`, or changed between the two readings.
    """
    survey = Survey()
    with progress(0, "check", "rows") as bar:
        for chunk in chunks():
            survey.add(chunk, about if isinstance(about, About) else None)
            bar.total += len(chunk.ids)
            bar.update(len(chunk.ids))
    about = about if isinstance(about, About) else about(survey)
    writer = TokenWriter(
        out,
        tokenizer=about.tokenizer,
        codebook=about.full_codebook(),
        grid=about.grid,
        classes=about.classes,
        source=about.source,
        plan=hashed("import", codec, about.digest(), *survey.prints),
        codec=codec,
        command=command,
        vocabulary=about.full_vocabulary,
        views=about.views,
    )
    step = max(1, CELLS // (about.grid[0] * about.grid[1]) // about.views) * about.views
    parts = itertools.groupby(_parts(chunks(), survey, about), key=lambda part: part.split)
    with progress(survey.rows, "import", "rows") as bar:
        for number, part in enumerate(part for _, mine in parts for part in regroup(mine, step)):
            if number not in writer.finished:
                writer.write(number, part.split, part.ids, part.labels, part.table)
            bar.update(len(part))
    return writer.commit()


def tidied(chunk: Chunk) -> np.ndarray | None:
    """Returns labels as int64 [n], text (object) [n], bool or float32 [n, C], or None.

    Raises:
        StoreError: they are nothing of the kind, or not one a row.
    """
    labels = chunk.labels
    if labels is None:
        return None
    if len(labels) == len(chunk.ids):
        if labels.ndim == 2 and (labels.dtype == bool or labels.dtype.kind == "f"):
            return labels if labels.dtype == bool else labels.astype(np.float32)
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            return labels.astype(np.int64)
        if labels.ndim == 1 and labels.dtype.kind == "f":
            known = np.where(np.isnan(labels), -1, labels)
            if (known == np.floor(known)).all() and (np.abs(known) < 2**53).all():
                return known.astype(np.int64)
        if labels.ndim == 1 and labels.dtype.kind in "USO":
            texts = [_text(label) for label in labels.tolist()]
            if None not in texts:
                return np.array(texts, object)
    raise StoreError(
        f"labels are {labels.dtype} {list(labels.shape)} beside {len(chunk.ids)} rows of ids",
        chunk.where,
        "give each row a class number or name, or bool or float [n, C]",
    )


def _text(label: object) -> str | None:
    """Returns a class name, "" for a missing one, None for anything else."""
    if label is None or label != label:
        return ""
    if isinstance(label, bytes):
        return label.decode()
    return label if isinstance(label, str) else None


def _print(chunk: Chunk) -> bytes:
    digest = xxhash.xxh3_128(f"{chunk.split}\0{chunk.ids.dtype.str}{chunk.ids.shape}".encode())
    digest.update(np.ascontiguousarray(chunk.ids).data)
    if chunk.labels is not None:
        digest.update(f"\0{chunk.labels.dtype.str}{chunk.labels.shape}".encode())
        plain = chunk.labels.dtype != object
        digest.update(chunk.labels.tobytes() if plain else repr(chunk.labels.tolist()).encode())
    digest.update("\0".join(["", *(chunk.names or ())]).encode())
    return digest.digest()


def _parts(chunks: Iterator[Chunk], survey: Survey, about: About) -> Iterator[Part]:
    """Reads all chunks a second time, with labels as numbers of `about.classes`."""
    first: dict[str, int] = {}
    place = {name: number for number, name in enumerate(about.classes)}
    waiting = iter(survey.prints)
    for chunk in chunks:
        if _print(chunk) != next(waiting, None):
            raise StoreError("changed while it was being read", chunk.where, "run the command again")
        start = first.get(chunk.split, 0)
        first[chunk.split] = start + len(chunk.ids)
        names = chunk.names or [f"{chunk.split}/{start + i:08d}" for i in range(len(chunk.ids))]
        ids = about.tokenizer_ids(chunk.ids, chunk.where)
        yield Part(chunk.split, ids, _numbered(chunk, survey, place), RowTable.named(list(names)))
    if next(waiting, None) is not None:
        raise StoreError("lost rows while it was being read", about.source["name"], "run the command again")


def _numbered(chunk: Chunk, survey: Survey, place: dict[str, int]) -> np.ndarray | None:
    """Returns labels as a store holds them; rows without any have the unknown class where others have one."""
    labels = tidied(chunk)
    if survey.kind == "none" or (survey.kind == "class" and not place):
        return None
    if labels is None:
        if survey.kind == "class":
            return np.full(len(chunk.ids), -1, np.int64)
        raise StoreError(f"has no labels, others have {survey.kind} ones", chunk.where, "label all rows alike")
    if labels.dtype != object:
        return labels
    unknown = [name for name in labels if name and name not in place]
    if unknown:
        raise StoreError(f"there is no class {unknown[0]!r}", chunk.where, nearest_names(unknown[0], place))
    return np.array([place.get(name, -1) for name in labels], np.int64)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], cure: str = "write or fetch it again") -> Iterator[None]:
    """Turns whatever a stranger's file makes a library raise into one line that names the file.

    Raises:
        StoreError: something was raised.
    """
    try:
        yield
    except SeitError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise StoreError(f"cannot be read ({what})", os.fspath(path), cure) from error
