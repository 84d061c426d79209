"""The examples run, and show what a reader would copy."""

import ast
import re
import runpy
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_own_loop_learns_from_a_token_data_set(tokens, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["own_loop.py", str(tokens)])
    runpy.run_path(str(EXAMPLES / "own_loop.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    right, held_out = map(int, re.fullmatch(r"epoch 4: (\d+) of (\d+) held-out images right", lines[-1]).groups())
    assert held_out == 24
    assert right >= 20  # three colours: a third would be chance


def test_own_loop_is_twenty_statements_of_plain_pytorch():
    tree = ast.parse((EXAMPLES / "own_loop.py").read_text())
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) - 1  # the docstring
    assert statements <= 20
    taken = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert taken == {"TokenDataset", "DataLoader"}
