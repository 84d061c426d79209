"""`import seit`: which names it shows, and what it takes to read token data sets with a bare installation."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import seit

TRAIN = ("torch", "torchvision", "timm", "PIL", "matplotlib", "jinja2", "yaml", "huggingface_hub")

# Makes packages look as if they were not installed.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def without(packages: tuple[str, ...], program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process where some packages cannot be imported."""
    code = f"ABSENT = {packages!r}\n{WITHOUT}\n{program}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_dir_shows_the_verbs_and_each_is_there():
    assert set(seit.__all__) < set(dir(seit))
    assert {"TokenDataset", "tokenize", "train", "verify"} <= set(seit.__all__)
    for name in dir(seit):
        assert getattr(seit, name) is not None


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse(Path(seit.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    assert typed == seit._HOMES
    assert (Path(seit.__file__).parent / "py.typed").exists()


READ_AND_WRITE = """
import json, shutil, sys
import numpy as np
import seit
from seit.store import RowTable, TokenWriter

folder, tokens = sys.argv[1], sys.argv[2]
rows = seit.TokenDataset(tokens)
ids, label = rows[0]
assert ids.shape == (8, 8) and len(rows.names([0])) == 1 and rows.codebook.ndim == 2
assert seit.verify(tokens, decode=True)["whole"]
assert seit.info(tokens, classes=True)["images"] == 84
shutil.copytree(tokens, f"{folder}/grown")
seit.merge([tokens, tokens], f"{folder}/merged")
seit.append(f"{folder}/grown", f"{folder}/merged")
seit.subset(tokens, f"{folder}/val", split="val")
seit.convert(tokens, f"{folder}/npy", to="npy")
seit.convert(f"{folder}/npy", f"{folder}/again")
print(json.dumps([len(seit.TokenDataset(f"{folder}/{name}")) for name in ("merged", "grown", "val", "again")]))
"""


def test_stores_are_read_verified_and_combined_without_the_packages_of_training(tokens, tmp_path):
    done = without((*TRAIN, "fsspec"), READ_AND_WRITE, tmp_path, tokens)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [168, 252, 24, 84]


COMMAND_LINE = "import sys\nfrom seit.cli import main\nsys.argv[0] = 'seit'\nmain()"


def test_the_command_line_reads_with_a_bare_installation(tokens):
    for verb in ("info", "verify"):
        done = without(TRAIN, COMMAND_LINE, verb, tokens)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["tokenize SOURCE OUT", "train TOKENS --out OUT", "repair TOKENS"])
def test_a_missing_package_ends_in_one_line_that_names_the_extra(verb, tokens, shapes, tmp_path):
    places = {"SOURCE": shapes, "TOKENS": tokens, "OUT": tmp_path / "out"}
    words = [places.get(word, word) for word in verb.split()]
    done = without(TRAIN, COMMAND_LINE, *words, "--json")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert 'run pip install "seit[train]"' in done.stderr
    assert json.loads(done.stdout)["error"]["where"] in TRAIN
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_also_an_import_error_of_the_python_function():
    program = """
import pickle
try:
    from seit import train
except ImportError as error:
    print(error, pickle.loads(pickle.dumps(error)) .where)
"""
    done = without(("timm",), program)
    assert done.stdout == 'timm: is needed here and not installed; run pip install "seit[train]" timm\n'
