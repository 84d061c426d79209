"""Imports run one way, along the data's path; what is no network does not import torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "seit"

# A folder may import what stands above it (and itself), never what stands below or beside it.
ORDER = [
    ["errors", "compiled", "files", "progress", "device", "checkpoint", "ranks", "hub"],
    ["images"],
    ["tokenizers", "codecs"],
    ["store"],
    ["tokenizing"],
    ["loading"],
    ["augment"],
    ["run"],
    ["models"],
    ["objectives", "evaluation"],
    ["training"],
    ["recipes"],
    ["report"],
    ["verbs"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
# Narrower than the order.
ONLY = {
    "errors": set(),
    "files": {"errors"},
    "progress": {"errors"},
    "images": {"errors", "files", "progress"},
    "codecs": {"errors", "files", "progress", "compiled"},
    "run": {"errors", "files"},
    "report": {"errors", "files"},
}
TORCH_FREE = {
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
    "run",
    "report",
    "cli",
}
# Decode processes load these alone.
WORKERS = [SRC / "tokenizing" / name for name in ("__init__.py", "decode_worker.py", "decoders.py")]
FITS_WITH_TORCH = SRC / "codecs" / "learned_fit.py"  # imported by who fits the learned codec, never by who reads


def folder_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    paths = sorted(SRC.rglob("*.py"))
    assert len(paths) > 50
    return [path for path in paths if path.parent != SRC or path.name not in ("__init__.py", "__main__.py")]


def imported(path: Path) -> set[str]:
    """Returns the full names that a file imports, anywhere in it; a relative import begins with a dot."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def test_imports_run_one_way():
    against = []
    for path in modules():
        here, names = folder_of(path), imported(path)
        if here not in RANK:
            against.append(f"{here} has no place in ORDER")
            continue
        against += [f"{path}: the relative import {name}" for name in names if name.startswith(".")]
        parts = [name.split(".") for name in names]
        others = {p[1] for p in parts if p[0] == "seit" and len(p) > 1 and p[1] in RANK} - {here}
        for other in others:
            behind = RANK[other] > RANK[here] or RANK[other] == RANK[here] > 0
            if behind or (here in ONLY and other not in ONLY[here]):
                against.append(f"{path} imports seit.{other}")
    assert not against, "\n".join(against)


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
networks = {{"torch", "timm", "torchvision"}}
assert not networks & set(sys.modules), "reading a data set loads them"
for name in {[*names, "seit.verbs.info"]!r}:
    importlib.import_module(name)
    for network in networks & set(sys.modules):
        networks.discard(network)
        print(f"{{name}} loads {{network}}")
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout
