"""Encoding single rows again, as `seit repair` and `seit show` need the images that a data set was made from."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from seit.errors import ImageError, StoreError
from seit.images import Bad, Facts, Image, Preparation, Source, Views, open_source
from seit.images.places import is_remote
from seit.images.quarantine import read_report, report_path
from seit.progress import progress
from seit.store.staging import Part
from seit.tokenizing.decoders import Decoders, processes_for
from seit.tokenizing.encoding import Encoder
from seit.tokenizing.plan import BATCH_PIXELS, row_table, several_labels


def reopened(about: dict[str, Any], moved: str | os.PathLike[str] | None = None) -> Source:
    """Lists again the images that a data set was made from; of another machine only where the user names them.

    Args:
        about: its manifest's `source`.
        moved: where they are now, if not where they were.

    Raises:
        ImageError: they are not there.
    """
    name = str(about["name"])
    if moved is None and is_remote(name):  # a manifest may be a stranger's, and lead anywhere
        raise ImageError("lie on another machine", name, "name them: --source")
    known = ("image_column", "label_column", "classes")
    columns = {key: str(value) for key, value in about.get("columns", {}).items() if key in known}
    return open_source(moved or name, **columns)  # type: ignore[arg-type]


class Again:
    """Encodes rows of a data set anew, from its images.

    Args:
        path: the data set; its report names images that were skipped.
        about: its manifest's `source`.
        count: its views an image.
        images: the images, listed again.
        encoder: its tokenizer.
    """

    def __init__(self, path: str, about: dict[str, Any], count: int, images: Source, encoder: Encoder) -> None:
        self.images, self.encoder = images, encoder
        policy, listed = str(about.get("views", "plain")), len(images.boxes[0]) if images.boxes else 0
        self.views = Views.of(policy, int(about.get("seed", 0)), listed)
        if self.views.count != count:
            raise StoreError(f"its {count} views an image are not those of {policy!r}", path, "give its own images")
        self.how = Preparation(encoder.tokenizer.preprocessing, self.views)
        self.places = {name: place for place, name in enumerate(images.names)}
        # Names of the images that the data set left out; None if the report of them is gone.
        self.skipped = read_report(report_path(path)) if about.get("quarantined") else set[str]()
        self.path = path

    def rows(self, split: str, positions: np.ndarray, names: list[str] | None) -> Part:
        """Encodes rows of a split; see `seit.store.repair.Rebuild`.

        Raises:
            StoreError: their images are gone, cannot be read any more, or cannot be told.
        """
        count = self.views.count
        if names is None:
            if self.skipped is None:
                what = "its names are lost, and so is the report of the images that were skipped"
                raise StoreError(what, self.path, "create the data set again")
            known = [place for place in self.images.split(split) if self.images.names[place] not in self.skipped]
            places = [known[i // count] for i in positions.tolist() if i // count < len(known)]
        else:
            places = [self.places[name] for name in names if name in self.places]
        if len(places) != len(positions):
            lost = len(positions) - len(places)
            raise StoreError(f"{lost} of the damaged rows' images are gone", self.images.name, "give --source")
        return self._encoded(split, places, positions % count)

    def _encoded(self, split: str, places: list[int], which: np.ndarray) -> Part:
        """Encodes one view each of some images."""
        images: list[Image] = [self.images[place] for place in places]
        size = max(1, BATCH_PIXELS // (self.how.shape[0] * self.how.shape[1] * self.views.count))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        ids, found = [], list[Facts]()
        with (
            progress(len(images), "tokenize", "images") as bar,
            Decoders(self.how, size, processes_for(0)) as decoders,
        ):
            for views, facts in decoders.batches(batches):
                rows = self.encoder.ids(views)
                for number, one in enumerate(facts):
                    if isinstance(one, Bad):
                        raise StoreError(one.reason, one.name, "restore the image, or give --source")
                    ids.append(rows[number * self.views.count + which[len(found)]])
                    found.append(one)
                bar.update(len(facts))
        table = row_table([image.name for image in images], found, self.views, which[:, None])
        return Part(split, np.stack(ids), self._labels(places, which), table)

    def _labels(self, places: list[int], which: np.ndarray) -> np.ndarray | None:
        if not self.images.classes:
            return None
        if self.images.several is not None:
            return several_labels(self.images, np.array(places, np.int64))
        if self.images.view_labels.shape[1]:
            return self.images.view_labels[places, which]
        return self.images.labels[places]
