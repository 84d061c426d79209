"""Lists of images: a CSV or JSON-lines file of paths or http(s) URLs with class names, splits, boxes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from seit.errors import ImageError, nearest_names
from seit.images.listed import Box, Listed
from seit.images.places import Place, is_remote, opened

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_IMAGES = ("image", "path", "url", "file", "filename", "file_name", "image_path", "image_url")
_LABELS = ("label", "class", "class_name", "category")


def list_file(
    path: str, image_column: str | None = None, label_column: str | None = None, private: bool = False
) -> Listed:
    """Lists the rows of a CSV (its first line names the columns) or JSON-lines file.

    A relative path counts from the list's own folder. `split` is train, val or test. JSON lines may give a label a
    view (`label` is a list), and the views themselves: `boxes`, [top, left, height, width] in pixels of the upright
    image each, and `flips`.

    Args:
        path: the file.
        image_column, label_column: their names, where they are not the usual ones (image, path, url; label, class).
        private: URLs may lead into private networks.

    Raises:
        ImageError: the file cannot be read, lacks a column, or a row is not as above.
    """
    try:
        with opened(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot be read ({error})", path, "give a UTF-8 file") from error
    folder = path.rpartition("/")[0] or ("." if not path.startswith("/") else "/")
    listed = Listed()
    for number, row in _rows(text, path):
        where = f"{path}: line {number}"
        if not listed.names:
            image_column = _column(row, image_column, _IMAGES, "--image-column", where)
            label_column = label_column or next((name for name in _LABELS if name in row), None)
        value = row.get(str(image_column))
        if not isinstance(value, str) or not value:
            raise ImageError(f"has no {image_column}", where, "give a path or URL in every row")
        listed.add(value, _place(value, folder, private, where), None, _text(row.get("split"), where) or None)
        listed.labels[-1] = _labels(row.get(label_column) if label_column else None, where)
        _views(row, listed, where)
    if listed.boxes and len(listed.boxes) != len(listed.names):
        raise ImageError("some rows have boxes and some have none", path, "give each image its boxes")
    return listed


def _rows(text: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, columns)."""
    if path.endswith((".csv", ".tsv")):
        reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.endswith(".tsv") else ",", strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise ImageError(f"is no CSV ({error})", f"{path}: line {reader.line_num}", "mend it") from error
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ImageError(f"is no JSON ({str(error)[:60]})", f"{path}: line {number}", "mend it") from None
        if not isinstance(row, dict):
            raise ImageError("is no JSON object", f"{path}: line {number}", 'write {"path": ..., "label": ...}')
        yield number, row


def _column(row: dict[str, Any], given: str | None, usual: tuple[str, ...], option: str, where: str) -> str:
    found = (
        given if given in row else next((name for name in usual if name in row), None) if given is None else None
    )
    if found is None:
        names = [name for name in row if isinstance(name, str)]
        what = f"has no column {given!r}" if given else f"has none of the columns {', '.join(usual[:3])}"
        raise ImageError(what, where, f"give {option}; {nearest_names(given or '', names)}")
    return found


def _place(value: str, folder: str, private: bool, where: str) -> Place:
    """Returns where a path or URL leads; of protocols http and https alone, since a list may be a stranger's."""
    if value.lower().startswith(("http://", "https://")):
        return Place("private-url" if private else "url", "", value)
    if is_remote(value) or "\0" in value:
        raise ImageError(f"{value[:80]!r} is neither a path nor an http(s) URL", where, "give one of these")
    return Place("file", folder, value)


def _text(value: Any, where: str) -> str:
    """Returns a cell as text; numbers as they are written."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ImageError(f"{str(value)[:40]!r} is no text", where, "write names as text")
    return str(value).strip()


def _labels(value: Any, where: str) -> str | list[str | None] | None:
    if isinstance(value, list):
        if not value:
            raise ImageError("its list of labels is empty", where, "give one a view")
        return [_text(one, where) or None for one in value]
    return _text(value, where) or None


def _views(row: dict[str, Any], listed: Listed, where: str) -> None:
    """Takes boxes and flips out of a row."""
    boxes = row.get("boxes")
    if boxes is None:
        return

    def is_box(box: Any) -> bool:
        whole = isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)
        return whole and min(box[:2]) >= 0 and min(box[2:]) > 0 and max(box) < 1 << 31

    if not isinstance(boxes, list) or not boxes or not all(map(is_box, boxes)):
        raise ImageError("its boxes are not [[top, left, height, width], ...] in pixels", where, "mend them")
    flips = row.get("flips", [False] * len(boxes))
    if not isinstance(flips, list) or len(flips) != len(boxes) or not all(type(flip) is bool for flip in flips):
        raise ImageError("its flips are not one of true and false a box", where, "mend them")
    if listed.boxes and len(boxes) != len(listed.boxes[0]):
        raise ImageError(f"has {len(boxes)} boxes, the first image {len(listed.boxes[0])}", where, "give as many")
    found: list[Box] = [(box[0], box[1], box[2], box[3]) for box in boxes]
    listed.boxes.append(found)
    listed.flips.append(flips)
