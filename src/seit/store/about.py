"""What other formats have no place for: `seit.json` (tokenizer, codes, classes, terms) beside exported rows."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seit import files
from seit.errors import StoreError
from seit.store.codebook import from_ranges, to_ranges
from seit.store.entries import MAX_CELLS, MAX_VIEWS, MAX_VOCABULARY
from seit.store.row_sequence import hashed
from seit.store.token_rows import TokenRows

NAME = "seit.json"


@dataclass(frozen=True)
class About:
    """What describes exported rows.

    Attributes:
        tokenizer, classes, source, views: as in a manifest.
        grid: (h, w).
        full_vocabulary: codes of the tokenizer.
        used_codes: int32 [K], the tokenizer's code of each id.
        codebook: float32 [K, d], or None.
    """

    tokenizer: dict[str, Any]
    grid: tuple[int, int]
    full_vocabulary: int
    used_codes: np.ndarray
    classes: list[str]
    source: dict[str, Any]
    views: int = 1
    codebook: np.ndarray | None = None

    @staticmethod
    def write(rows: TokenRows, folder: Path) -> list[Path]:
        """Writes `seit.json`, and `codebook.npy` float32 [K, d] where the vectors are known."""
        value = {
            "tokenizer": rows.tokenizer,
            "grid": list(rows.grid),
            "full_vocabulary": rows.full_vocabulary,
            "used_codes": to_ranges(rows.used_codes),
            "classes": rows.classes,
            "source": {key: rows.source[key] for key in ("name", "split_rule", "terms") if key in rows.source},
            "views": rows.views,
        }
        files.write_json(folder / NAME, value)
        if rows.codebook is None:
            return [folder / NAME]
        vectors = io.BytesIO()
        np.save(vectors, rows.codebook)
        files.write_bytes(folder / "codebook.npy", vectors.getvalue())
        return [folder / NAME, folder / "codebook.npy"]

    @staticmethod
    def read(folder: Path) -> About | None:
        """Reads what `write` wrote; None if there is no `seit.json`.

        Raises:
            StoreError: it is damaged.
        """
        path = folder / NAME
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_bytes())
            (h, w), full, views = map(int, value["grid"]), int(value["full_vocabulary"]), int(value["views"])
            used = from_ranges(value["used_codes"], full)
            classes, tokenizer, source = value["classes"], value["tokenizer"], value["source"]
            texts = [*classes, tokenizer["name"], tokenizer["identity"], source["name"]]
            good = isinstance(classes, list) and all(isinstance(text, str) for text in texts)
            good &= 0 < h * w <= MAX_CELLS and h > 0 and 0 < full <= MAX_VOCABULARY and 0 < views <= MAX_VIEWS
            codebook = folder / "codebook.npy"
            vectors = np.load(codebook, allow_pickle=False).astype(np.float32) if codebook.exists() else None
            good &= vectors is None or (vectors.ndim == 2 and len(vectors) == len(used))
        except Exception as error:  # a stranger's file; numpy and json raise what they like
            what = f"cannot be read ({type(error).__name__}: {str(error)[:120]})"
            raise StoreError(what, str(path), "export the rows again") from error
        if not good:
            raise StoreError("is out of the format's limits", str(path), "export the rows again")
        return About(tokenizer, (h, w), full, used, classes, source, views, vectors)

    def full_codebook(self) -> np.ndarray | None:
        """Returns float32 [full vocabulary, d] with zeros for codes that no row has, or None."""
        if self.codebook is None:
            return None
        if len(self.codebook) != len(self.used_codes):
            what = f"{len(self.codebook)} vectors for {len(self.used_codes)} codes"
            raise StoreError(what, "codebook", "give one a code")
        full = np.zeros((self.full_vocabulary, self.codebook.shape[1]), np.float32)
        full[self.used_codes] = self.codebook
        return full

    def tokenizer_ids(self, ids: np.ndarray, where: str) -> np.ndarray:
        """Returns exported ids [n, h, w] or [n, h * w] as the tokenizer's codes, int32 [n, h, w].

        Raises:
            StoreError: another grid, no integers, or an id without a code.
        """
        n, (h, w) = len(ids), self.grid
        if ids.shape not in ((n, h, w), (n, h * w)) or not np.issubdtype(ids.dtype, np.integer):
            raise StoreError(f"ids are {ids.dtype} {list(ids.shape)}", where, f"give integers [n, {h}, {w}]")
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.used_codes):
            raise StoreError(
                f"ids run from {ids.min()} to {ids.max()}", where, f"there are {len(self.used_codes)} codes"
            )
        return self.used_codes[ids.reshape(n, h, w)]

    def digest(self) -> str:
        """Returns a hash of all of it."""
        plain = [self.tokenizer, self.grid, self.full_vocabulary, self.classes, self.source, self.views]
        vectors = b"" if self.codebook is None else np.ascontiguousarray(self.codebook).tobytes()
        return hashed(json.dumps(plain, sort_keys=True), self.used_codes.tobytes(), vectors)
