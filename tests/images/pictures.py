"""Small pictures as files, tars and tables, as tests of listings need them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image


def png(number: int = 0, format: str = "PNG") -> bytes:
    """Returns a picture of 4 x 3 pixels that differs by its number."""
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (number % 256, 0, 0)).save(file, format)
    return file.getvalue()


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Writes files below a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar of members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
