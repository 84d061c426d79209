"""Imports run one way, along the data's path; what is no network does not import torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "seit"

# A folder may import what stands before it (and itself), never what stands behind.
ORDER = [
    ["errors", "files", "progress", "device", "checkpoint", "ranks", "hub"],
    ["images"],
    ["tokenizers", "codecs"],
    ["store"],
    ["tokenizing"],
    ["loading"],
    ["augment"],
    ["models"],
    ["training"],
    ["recipes"],
    ["evaluation"],
    ["report"],
    ["verbs"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
TOP = set(ORDER[0])
# Narrower than the order.
ONLY = {
    "errors": set(),
    "files": {"errors"},
    "progress": {"errors"},
    "images": {"errors", "files", "progress"},
    "codecs": {"errors", "files", "progress"},
    "report": {"errors", "files"},
}
TORCH_FREE = [
    "errors",
    "files",
    "progress",
    "device",
    "ranks",
    "hub",
    "images",
    "codecs",
    "store",
    "loading",
    "report",
    "cli",
]
# Decode processes load these alone.
WORKERS = [SRC / "tokenizing" / name for name in ("__init__.py", "decode_worker.py", "decoders.py")]
FITS_WITH_TORCH = SRC / "codecs" / "learned_fit.py"  # imported by who fits the learned codec, never by who reads


def folder_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    found = sorted(SRC.rglob("*.py"))
    assert len(found) > 50
    return [path for path in found if path.parent != SRC or path.name not in ("__init__.py", "__main__.py")]


def imported(path: Path) -> set[str]:
    """Returns the folders of seit that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        found |= {p[1] for p in parts if p[0] == "seit" and len(p) > 1 and p[1] in RANK}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_imports_run_one_way(path):
    here = folder_of(path)
    assert here in RANK, f"{here} has no place in the order"
    others = imported(path) - {here}
    against = {other for other in others if RANK[other] > RANK[here] or (RANK[other] == RANK[here] > 0)}
    assert not against, f"{here} imports {against}, which stand behind or beside it"
    if here in ONLY:
        assert others <= ONLY[here], f"{here} imports {others - ONLY[here]}"


def module_level_imports(tree: ast.Module) -> set[str]:
    """Returns the first names of what a module imports when it is loaded itself."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", [SRC / "__init__.py", *modules()], ids=lambda path: str(path.relative_to(SRC)))
def test_no_torch_at_module_level_where_no_network_is(path):
    free = path == SRC / "__init__.py" or path in WORKERS or folder_of(path) in TORCH_FREE
    if path != FITS_WITH_TORCH and free:
        assert not module_level_imports(ast.parse(path.read_text())) & {"torch", "timm", "torchvision"}


def test_reading_a_token_data_set_and_importing_every_torch_free_module_does_not_load_torch(tokens):
    names = [
        "seit." + ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
        if (folder_of(path) in TORCH_FREE or path in WORKERS) and path != FITS_WITH_TORCH
    ]
    program = f"""
import importlib, sys, pickle
from seit import TokenDataset
from seit.loading import Resident, batches
rows = TokenDataset({str(tokens)!r}, "train")
ids, label = rows[0]
assert ids.shape == (8, 8) and len(rows.names([0])) == 1 and rows.codebook.ndim == 2
assert len(list(batches(Resident(rows), 20, seed=0, epoch=0))) == 3
assert len(pickle.loads(pickle.dumps(rows))) == 60
loaded = [name for name in ("torch", "timm", "torchvision") if name in sys.modules]
assert not loaded, f"reading a data set loads {{loaded}}"
for name in {names!r}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, f"{{name}} loads torch"
import seit.verbs.info
assert "torch" not in sys.modules, "seit info loads torch"
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
