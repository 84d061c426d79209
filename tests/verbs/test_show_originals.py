"""`seit show` draws as originals only files that are still what the tokens were made from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from drawn import picture
from PIL import Image

import seit
from seit.errors import StoreError


@pytest.fixture
def made(shapes, tmp_path):
    """Nine pictures and their tokens."""
    folder = tmp_path / "pictures"
    for kind in ("circle", "square", "stripes"):
        (folder / kind).mkdir(parents=True)
        for name in ("00.jpg", "02.jpg", "03.jpg"):
            shutil.copy(shapes / "train" / kind / name, folder / kind / name)
    seit.tokenize(folder, tmp_path / "tokens", tokenizer="patch4", size=32)
    return folder, tmp_path / "tokens"


def test_a_replaced_file_is_drawn_blank_and_named(made, tmp_path, cli):
    folder, tokens = made
    assert seit.show(tokens)["changed"] == []
    before = np.array(Image.open(f"{tokens}.png"))
    picture("stripes", 99).save(folder / "circle/02.jpg")
    (folder / "square/00.jpg").write_bytes(b"")
    shown = seit.show(tokens)
    assert shown["originals"]
    assert sorted(shown["changed"]) == ["circle/02.jpg", "square/00.jpg"]
    after = np.array(Image.open(f"{tokens}.png"))
    assert (before != after).any()
    ended = cli("show", tokens, "--out", tmp_path / "s.png")
    assert f"drawn blank, for they have changed: {', '.join(shown['changed'])}" in ended.out


def test_other_pictures_of_the_same_names_are_refused(made, tmp_path):
    folder, tokens = made
    other = tmp_path / "other"
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        picture("circle", 500 + number).save(other / path.parent.name / path.name)
    with pytest.raises(StoreError, match="was not made from"):
        seit.show(tokens, source=other)
