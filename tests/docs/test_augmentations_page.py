"""The page on augmentations says what the code does."""

import re
from pathlib import Path

import torch

from seit.augment import pipeline
from seit.models import STEMS, stem_of
from seit.training import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "augmentations.md").read_text()


def test_the_order_is_the_pipelines_own() -> None:
    codebook = torch.full((20, 16), 0.9148)
    assert f"    {pipeline((32, 32), (28, 28), 1000, codebook=codebook)}\n" in PAGE


def test_every_stem_has_a_line_with_its_sides() -> None:
    rows = dict(re.findall(r"^\| (\w+)(?: \([^|]*\))? \|[^|]*\| (\d+ -> \d+ -> \d+) \|", PAGE, re.MULTILINE))
    assert set(rows) == {*STEMS, "patch16"}
    for name, sides in rows.items():
        n, m, k = map(int, sides.split(" -> "))
        stem = stem_of(name)
        assert (stem.input_side(n), stem.output_side(m)) == (m, k), name


def test_every_setting_of_the_table_is_a_recipes() -> None:
    table = PAGE[PAGE.index("| step |") : PAGE.index("- The paper turns")]
    last = [row.rsplit("|", 2)[1] for row in table.splitlines() if row.startswith("|")]
    settings = {name for cell in last for name in re.findall(r"`(\w+)", cell)}
    assert settings <= set(Recipe().to_json())
    assert {"synonym", "swap", "crop", "cutmix", "mixup", "noise", "flip", "smoothing"} <= settings
