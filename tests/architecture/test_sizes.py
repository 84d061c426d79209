"""Files and functions stay small, public names are described, and nothing names the machine it was written on."""

import ast
import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "seit"
MODULES = sorted(SRC.rglob("*.py"))
VAGUE = {"utils", "common", "helpers", "misc", "core"}
LONGEST = 60
LONGEST_KERNEL = 75  # compiled by numba: cut into parts, its state would travel through arguments
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def code_lines(node: ast.AST, lines: list[str]) -> int:
    """Counts the lines of a function without its docstring, its comments and its blank lines."""
    body = lines[node.lineno - 1 : node.end_lineno]
    if ast.get_docstring(node):
        first = node.body[0]
        body = lines[node.lineno - 1 : first.lineno - 1] + lines[first.end_lineno : node.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in body)


def test_files_and_functions_are_small():
    too_large = []
    for path in MODULES:
        lines = path.read_text().splitlines()
        if len(lines) >= 400:
            too_large.append(f"{path}: {len(lines)} lines")
        if path.stem in VAGUE:
            too_large.append(f"{path}: a name that says nothing")
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function):
                kernel = any("compiled" in ast.unparse(decorator) for decorator in node.decorator_list)
                if code_lines(node, lines) > (LONGEST_KERNEL if kernel else LONGEST):
                    too_large.append(f"{path}:{node.lineno}: {node.name} has {code_lines(node, lines)} lines")
    assert not too_large, "\n".join(too_large)


def public(path: Path) -> list[tuple[ast.AST, str, bool]]:
    """Returns the public classes and functions of a file: (node, name, whether it may inherit its docstring)."""
    names: list[tuple[ast.AST, str, bool]] = []
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            names.append((node, node.name, False))
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, Function) and not m.name.startswith("_")]
                names += [(m, f"{node.name}.{m.name}", bool(node.bases)) for m in methods]
    return names


@functools.cache
def inherited() -> set[str]:
    """Returns the names of methods that some class documents."""
    named = (entry for path in MODULES for entry in public(path) if "." in entry[1])
    return {name.split(".")[1] for node, name, _ in named if ast.get_docstring(node)} | {"forward"}


def test_public_names_have_docstrings_and_take_no_kwargs():
    documented, against = inherited(), []
    for path in MODULES:
        if not ast.get_docstring(parsed(path)) and (path.name != "__init__.py" or path.read_text().strip()):
            against.append(f"{path} does not say what lives in it")
        for node, name, overrides in public(path):
            if not ast.get_docstring(node) and not (overrides and name.split(".")[1] in documented):
                against.append(f"{path}: {name} has no docstring")
            if isinstance(node, Function) and node.args.kwarg is not None:
                against.append(f"{path}: {name} takes **{node.args.kwarg.arg}")
    assert not against, "\n".join(against)


def tracked() -> list[Path]:
    """Returns the files under version control; of an unpacked archive there are none."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True)
    if listed.returncode:
        pytest.skip("no git repository here")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_one_machine():
    words = ["/" + word for word in ("work/", "tmp/w/", "root/", "home/")]
    naming = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in tracked()
        for word in words
        if word.encode() in path.read_bytes()
    ]
    assert not naming
