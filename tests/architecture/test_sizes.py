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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_and_functions_are_small(path):
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) < 400
    assert path.stem not in VAGUE
    for node in ast.walk(parsed(path)):
        if isinstance(node, Function):
            kernel = any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
            most = LONGEST_KERNEL if kernel else LONGEST
            assert code_lines(node, lines) <= most, f"{node.name} at line {node.lineno}"


def public(path: Path) -> list[tuple[ast.AST, str, bool]]:
    """Returns the public classes and functions of a file: (node, name, whether it may inherit its docstring)."""
    found: list[tuple[ast.AST, str, bool]] = []
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            found.append((node, node.name, False))
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, Function) and not m.name.startswith("_")]
                found += [(m, f"{node.name}.{m.name}", bool(node.bases)) for m in methods]
    return found


@functools.cache
def inherited() -> set[str]:
    """Returns the names of methods that some class documents."""
    named = (entry for path in MODULES for entry in public(path) if "." in entry[1])
    return {name.split(".")[1] for node, name, _ in named if ast.get_docstring(node)} | {"forward"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_public_names_have_docstrings_and_take_no_kwargs(path):
    documented = inherited()
    if path.name != "__init__.py" or path.read_text().strip():
        assert ast.get_docstring(parsed(path)), "the file does not say what lives in it"
    for node, name, overrides in public(path):
        assert ast.get_docstring(node) or (overrides and name.split(".")[1] in documented), name
        if isinstance(node, Function):
            assert node.args.kwarg is None, f"{name} takes **{node.args.kwarg.arg}"


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


def test_test_files_have_names_of_their_own():
    # Test folders are no packages, so pytest refuses two files of one name.
    stems = [path.stem for path in (ROOT / "tests").rglob("*.py") if path.stem != "conftest"]
    assert not {stem for stem in stems if stems.count(stem) > 1}
