"""The page on augmentations says what the code does."""

import re
from pathlib import Path

import torch

from seit import recipes
from seit.augment import Pipeline, kinds
from seit.models import STEMS, stem_of
from seit.training import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "augmentations.md").read_text()


def test_the_order_is_the_pipelines_own() -> None:
    codebook = torch.full((20, 16), 0.9148)
    augment = Pipeline(recipes.load("token-in1k").augment, (32, 32), (28, 28), 1000, codebook=codebook)
    assert f"    {augment}\n" in PAGE.replace(" \\\n        -> ", " -> ")


def test_every_stem_has_a_line_with_its_sides() -> None:
    rows = dict(re.findall(r"^\| (\w+)(?: \([^|]*\))? \|[^|]*\| (\d+ -> \d+ -> \d+) \|", PAGE, re.MULTILINE))
    assert set(rows) == {*STEMS, "patch16"}
    for name, sides in rows.items():
        n, m, k = map(int, sides.split(" -> "))
        stem = stem_of(name)
        assert (stem.input_side(n), stem.output_side(m)) == (m, k), name


def test_every_augmentation_has_a_line_with_its_settings() -> None:
    table = PAGE[PAGE.index("| step |") : PAGE.index("- The paper turns")]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:] if row]
    said = {row[0]: set(re.findall(r"`([\w.]+)", row[-1])) for row in rows}
    settings = {name: {f"{name}.{one}" for one in kind().settings()} for name, kind in kinds().items()}
    assert said == {**{name: found or {"augment"} for name, found in settings.items()}, "smoothing": {"smoothing"}}
    assert "smoothing" in Recipe().to_json()
