"""Writing: stage parts of plain ids beside the target, then commit them as one token data set.

OUT is absent or whole at every moment: parts gather in OUT.partial, `commit` encodes them into OUT.partial/whole,
writes the manifest last and renames that folder to OUT. A killed writer loses at most the part it was writing.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from seit import files
from seit.codecs.base import id_type
from seit.errors import StoreError
from seit.store import encode, entries, staging
from seit.store import labels as label_columns
from seit.store import manifest as manifests
from seit.store.dataset import TokenDataset
from seit.store.publish import disk_errors, read_back
from seit.store.remote import local_folder
from seit.store.rows import RowTable


def is_finished(out: str | os.PathLike[str], plan: str) -> bool:
    """Says whether OUT already is the token data set that `plan` would write."""
    if not (Path(out) / manifests.NAME).exists():
        return False
    return manifests.read(Path(out) / manifests.NAME).created.get("plan") == plan


class TokenWriter:
    """Stages shards of plain ids under OUT.partial and commits them as one token data set folder.

    Several processes may stage different shards of the same plan at once; one of them commits.

    Args:
        out: the folder to make; it must not exist.
        tokenizer: name, identity, provenance, preprocessing of the tokenizer that made the ids.
        codebook: [K, d] float32, all codes of the tokenizer, or None if the vectors are unknown.
        grid: cells of a row along each axis: (h, w), (n,) or (q, h, w).
        classes: class names in label order, each once.
        source: name, split_rule, terms of the images.
        plan: a hash of what will be written; a partial of another plan is refused.
        codec: "auto", "zero-order", "context" or "learned".
        command: how to repeat this, recorded.
        vocabulary: K, needed only without a codebook.
        views: rows of each image, which follow one another in every shard.
        metadata: JSON-able, the user's own.

    Attributes:
        finished: the shards that are staged, by this or an interrupted earlier call.

    Raises:
        StoreError: OUT exists, or OUT.partial is of another plan.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        *,
        tokenizer: dict[str, Any],
        codebook: np.ndarray | None,
        grid: tuple[int, ...],
        classes: list[str],
        source: dict[str, Any],
        plan: str,
        codec: str = "auto",
        command: str = "",
        vocabulary: int = 0,
        views: int = 1,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.out = local_folder(out, "write it here, then seit push").absolute()
        self.codec, self.codebook = codec, codebook
        self.partial = self.out.with_name(self.out.name + ".partial")
        self.grid, self.views = tuple(int(side) for side in grid), views
        self.vocabulary = vocabulary if codebook is None else len(codebook)
        self._refuse_existing()
        self.header: dict[str, Any] = {
            "tokenizer": {"preprocessing": {}} | tokenizer,
            "classes": list(classes),
            "source": source,
            "created": {"command": command, "plan": plan},
            "metadata": metadata or {},
        }
        self._refuse_unreadable()
        with disk_errors(self.partial):
            self.partial.mkdir(parents=True, exist_ok=True)
            self._check_plan(plan)
        self.finished = staging.finished(self.partial)

    def write(
        self,
        shard: int,
        split: str,
        ids: np.ndarray,
        labels: np.ndarray | None,
        rows: RowTable,
        note: dict[str, Any] | None = None,
    ) -> None:
        """Stages shard number `shard`: it is kept from then on, whatever happens to this process.

        Args:
            shard: its number; commit wants 0..n-1, and keeps their order.
            split: "train" or "val", say.
            ids: [n, h, w] integers 0..K-1, the tokenizer's own ids.
            labels: int64 [n] (-1: unknown), bool [n, C], float32 [n, C], or None.
            rows: where each row came from.
            note: JSON-able, kept with the shard until the commit; see `notes`.

        Raises:
            StoreError: shapes or values do not fit, or the disk is full.
        """
        ids = np.asarray(ids)
        n = len(ids)
        entries.check_split(split)
        if ids.shape[1:] != self.grid or not np.issubdtype(ids.dtype, np.integer) or len(rows) != n:
            raise StoreError(
                f"ids are {ids.dtype} {list(ids.shape)} beside {len(rows)} names",
                f"shard {shard}",
                f"give integers [n, {', '.join(map(str, self.grid))}] and n names",
            )
        if n % self.views:
            raise StoreError(
                f"{n} rows are no multiple of {self.views} views", f"shard {shard}", "keep views together"
            )
        if n and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise StoreError(
                f"ids run from {ids.min()} to {ids.max()}", f"shard {shard}", f"the codebook has {self.vocabulary}"
            )
        how = label_columns.kind(labels, len(self.header["classes"]), n)
        labels = labels.astype(np.int64) if labels is not None and how == "class" else labels
        small = ids.astype(id_type(self.vocabulary)).reshape(n, math.prod(self.grid[:-1]), self.grid[-1])
        with disk_errors(self.partial):
            staging.write_part(self.partial, shard, staging.Part(split, small, labels, rows, note or {}))
        self.finished.add(shard)

    def refreshed(self) -> set[int]:
        """Returns the shards that are staged by now, also by other processes."""
        self.finished = staging.finished(self.partial)
        return self.finished

    def notes(self) -> list[dict[str, Any]]:
        """Returns what was noted with each staged shard, in their order."""
        return [staging.read_note(self.partial, number) for number in sorted(staging.finished(self.partial))]

    def commit(self) -> Path:
        """Encodes the staged shards, writes the manifest last and renames OUT.partial's content to OUT.

        Returns:
            OUT.

        Raises:
            StoreError: a shard is missing, another process commits, OUT exists, or the disk is full.
        """
        if not self.partial.is_dir():
            raise StoreError("is gone: another process committed it", str(self.partial), "use its data set")
        with disk_errors(self.partial), files.lock(self.partial / "lock-write"):
            self._refuse_existing()
            numbers = sorted(staging.finished(self.partial))
            missing = sorted(set(range(numbers[-1] + 1 if numbers else 1)) - set(numbers))
            if missing:
                raise StoreError(
                    f"{len(missing)} shards are missing, the first is {missing[0]}",
                    str(self.partial),
                    "write them, then commit",
                )
            whole = self.partial / "whole"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            first = staging.read_part(self.partial, numbers[0])
            labels = label_columns.kind(first.labels, len(self.header["classes"]), len(first))
            fixed = encode.Fixed(self.grid, self.vocabulary, self.views, self.codebook, labels, self.header)
            manifest = encode.new_store(whole, self.partial, numbers, fixed, self.codec)
            manifests.write(whole, manifest)
            read_back(TokenDataset(whole), manifest.files)
            os.rename(whole, self.out)
            files.sync_folder(self.out.parent)
        staging.remove(self.partial)
        return self.out

    def _refuse_unreadable(self) -> None:
        """Refuses what no reader would open before anything is written."""
        empty = entries.Manifest(
            shape=self.grid,
            full_vocabulary=self.vocabulary,
            used_codes=np.zeros(0, np.int32),
            code_counts=np.zeros(0, np.int64),
            labels="none",
            class_counts={},
            views=self.views,
            codebook=None,
            **self.header,
        )
        manifests.from_bytes(manifests.to_bytes(empty), str(self.out))

    def _refuse_existing(self) -> None:
        if not os.path.lexists(self.out):
            return
        if (self.out / manifests.NAME).exists():
            raise StoreError("already holds a token data set", str(self.out), "choose another OUT, or delete it")
        raise StoreError("exists and is not a token data set", str(self.out), "choose another OUT")

    def _check_plan(self, plan: str) -> None:
        path = self.partial / "plan.json"
        wanted = {"plan": plan, "tokenizer": self.header["tokenizer"].get("identity"), "grid": list(self.grid)}
        if not path.exists():
            if any(self.partial.iterdir()) and not self._leftover() and not path.exists():
                raise StoreError("holds something else", str(self.partial), "move it away, or choose another OUT")
            files.write_json(path, wanted)
            return
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        if found != wanted:
            raise StoreError(
                "holds the beginning of another data set (other source, tokenizer or options)",
                str(self.partial),
                "finish that one with its own command, or delete the folder",
            )

    def _leftover(self) -> bool:
        """Whether OUT.partial holds nothing but what a killed first moment leaves."""
        return all(path.name.endswith(".tmp") for path in self.partial.iterdir())
