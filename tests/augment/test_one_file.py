"""An augmentation is one file: here SeiT++'s ColorAdapt, put beside the others, trains by its name alone."""

import importlib
import json
import sys

import pytest
import torch

import seit
from seit import augment
from seit.augment import Draws, Pipeline
from seit.errors import RecipeError
from seit.training import Recipe

COLOR_ADAPT = '''
from dataclasses import dataclass

import torch

from seit.augment.base import OnVectors
from seit.augment.draws import partners


@dataclass(frozen=True)
class ColorAdapt(OnVectors):
    """Rows take the mean and spread of their partner's channels (SeiT++)."""

    inputs = ("ids",)
    probability: float = 0.5

    def __call__(self, vectors, targets, draws, setting):
        draws.check_pairs()
        spread, mean = torch.std_mean(vectors, (2, 3), keepdim=True)
        for _, rows in draws.groups():
            adapted = (vectors[rows] - mean[rows]) / spread[rows] * partners(spread[rows]) + partners(mean[rows])
            chosen = draws.rows(rows).uniform(self.name, 1)[:, 0] < self.probability
            vectors[rows] = torch.where(chosen[:, None, None, None], adapted, vectors[rows])
        return vectors, targets
'''


@pytest.fixture
def color_adapt(tmp_path, monkeypatch):
    """Puts the file where the package looks for its own."""
    (tmp_path / "color_adapt.py").write_text(COLOR_ADAPT)
    monkeypatch.setattr(augment, "__path__", [*augment.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield
    sys.modules.pop("seit.augment.color_adapt", None)


@pytest.mark.usefixtures("color_adapt")
def test_it_is_found_set_written_and_printed_by_the_files_name():
    recipe = Recipe().with_settings({"color_adapt.probability": "1"})
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    codebook = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    pipeline = Pipeline(recipe.augment, (8, 8), (8, 8), 3, codebook=codebook)
    assert "-> color_adapt(probability=1) ->" in str(pipeline)
    ids = torch.randint(0, 30, (5, 8, 8), generator=torch.Generator().manual_seed(1))
    found, _ = pipeline(ids, torch.zeros(5).long(), codebook, Draws(0, 0, torch.arange(5), 5))
    before = codebook[ids].movedim(-1, 1)
    for row, partner in enumerate((1, 0, 3, 2, 4)):
        for channel in range(6):
            one, other = before[row, channel], before[partner, channel]
            wanted = (one - one.mean()) / one.std() * other.std() + other.mean()
            assert torch.allclose(found[row, channel], wanted, atol=1e-5)
    with pytest.raises(RecipeError, match=r"color_adapt\.probability: a probability of 2"):
        Recipe().with_settings({"color_adapt.probability": "2"})


@pytest.mark.usefixtures("color_adapt")
def test_it_trains_by_name(tokens, tmp_path):
    settings = {"epochs": "1", "warmup_epochs": "0", "batch_size": "16", "augment": "color_adapt,cutmix"}
    seit.train(tokens, tmp_path / "run", settings=settings)
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [one["name"] for one in about["recipe"]["augment"]] == ["color_adapt", "cutmix"]
    assert about["augment"].startswith("centre_crop(8x8 to 8x8) -> color_adapt(probability=0.5) -> cutmix(")
