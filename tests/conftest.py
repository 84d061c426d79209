"""What several folders share: small pictures, a token data set and a run made of them, and the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from drawn import SETTINGS, draw_shapes, picture


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """60 training and 24 held-out pictures of 40 pixels in 3 classes. Read only."""
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "shapes", 20, 8)


@pytest.fixture(scope="session")
def tokens(shapes) -> Path:
    """The shapes as a token data set of 8 x 8 ids. Read only."""
    import seit

    out = shapes.parent / "shapes.tokens"
    seit.tokenize(shapes, out, tokenizer="patch4", size=32)
    return out


@pytest.fixture(scope="session")
def run(tokens) -> Path:
    """A run of 9 steps on the shapes' tokens. Read only."""
    import seit

    out = tokens.parent / "run"
    seit.train(tokens, out, settings=SETTINGS)
    return out


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory) -> Path:
    """Four pictures in no class folder. Read only."""
    folder = tmp_path_factory.mktemp("unlabelled") / "pictures"
    folder.mkdir()
    for i in range(4):
        picture("circle", i).save(folder / f"{i}.jpg")
    return folder


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys):
    """Calls the command line in this process: cli("info", path) -> (code, out, err)."""
    import seit.cli
    import seit.progress

    shared = importlib.import_module("seit.cli.app")  # the name seit.cli.app is the application itself

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(shared, "_as_json", False)
        monkeypatch.setattr(seit.progress, "_quiet", False)
        monkeypatch.setattr(sys, "argv", ["seit", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            seit.cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return call
