"""Where compiled kernels are kept: nowhere if nothing can be written, and never longer than what they contain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import seit

SOURCES = Path(seit.__file__).parent

DECODE = """
import json, sys
import numpy as np
from seit import codecs
vector = json.load(open(sys.argv[1]))[0]
codec = codecs.load(bytes.fromhex(vector["codec"]))
payload = np.frombuffer(bytes.fromhex(vector["payload"]), np.uint8)
print(codec.decode(payload, np.array(vector["offsets"]), np.array([0])).ravel().tolist())
"""
IDS = "[3, 0, 2, 1, 0, 2, 3, 3]"


@pytest.fixture
def copied(tmp_path):
    """A copy of the package's sources, without compiled code."""
    target = tmp_path / "site" / "seit"
    for source in SOURCES.rglob("*.py"):
        copy = target / source.relative_to(SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    return target


def decode_a_row(package: Path) -> subprocess.CompletedProcess[str]:
    """Decodes the first test vector in a fresh process without a home."""
    keep = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    environment = keep | {"HOME": "/proc/nope", "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    vectors = Path(__file__).with_name("vectors.json")
    command = [sys.executable, "-c", DECODE, str(vectors)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow  # compiles in fresh processes
def test_an_installation_that_nobody_may_write_decodes_without_a_home(copied):
    for folder in ("codecs", "augment"):
        (copied / folder / "__pycache__").touch()  # no folder can be made there, not even by root
    for folder in [copied, *copied.rglob("*/")]:
        folder.chmod(0o555)
    try:
        result = decode_a_row(copied)
    finally:
        for folder in [copied, *copied.rglob("*/")]:
            if folder.is_dir():
                folder.chmod(0o755)
    assert result.stdout.strip() == IDS, result.stderr


@pytest.mark.slow
def test_a_change_of_an_inlined_kernel_reaches_the_kernels_of_other_files(copied):
    assert decode_a_row(copied).stdout.strip() == IDS
    kept = set(copied.rglob("*.nbc"))
    assert kept  # the machine code of the first process
    assert decode_a_row(copied).stdout.strip() == IDS
    assert set(copied.rglob("*.nbc")) == kept  # the second one compiled nothing
    source = copied / "codecs" / "rans.py"
    line = "x << U(16) | U(words[min(at, last)])"  # of `refilled`, which the kernels of other files inline
    changed = source.read_text().replace(line, line.replace("16", "17"))
    assert changed != source.read_text()
    source.write_text(changed)
    result = decode_a_row(copied)
    assert result.returncode
    assert "row 0 do not decode" in result.stderr


def test_one_place_decides_how_kernels_are_compiled():
    others = [path for path in SOURCES.rglob("*.py") if path != SOURCES / "compiled.py"]
    assert [path for path in others if "njit" in path.read_text() or "cache=True" in path.read_text()] == []
