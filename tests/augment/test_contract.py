"""What an augmentation of another package can be: found by entry point, with a network, before a last look-up."""

import importlib
import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from seit import augment
from seit.augment import Draws, Pipeline
from seit.augment.noise import Noise
from seit.augment.requantise import Requantise
from seit.augment.resized_crop import ResizedCrop
from seit.errors import RecipeError
from seit.training import Recipe

CODEBOOK = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
TURN = '''
from dataclasses import dataclass

from safetensors.torch import load_file
from torch import nn

from seit.augment.base import OnVectors


@dataclass(frozen=True)
class Turn(OnVectors):
    """Maps every vector by a matrix that was learned elsewhere."""

    inputs = ("ids",)
    file: str = ""

    def load(self):
        weights = load_file(self.file)
        layer = nn.Linear(6, 6, bias=False)
        layer.load_state_dict(weights)
        return layer

    def __call__(self, vectors, targets, draws, setting):
        network = setting.network(self.name, vectors.device)
        return network(vectors.movedim(1, -1)).movedim(-1, 1), targets
'''


def install(folder, monkeypatch, points: str, **files: str) -> None:
    """Puts a package with entry points beside the installed ones."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    about = folder / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[seit.augmentations]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    for name in files:
        sys.modules.pop(name, None)


def test_another_packages_augmentation_carries_its_weights(tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch, "turn = turn:Turn", turn=TURN)
    matrix = torch.linalg.qr(torch.randn(6, 6)).Q.contiguous()
    save_file({"weight": matrix}, tmp_path / "turn.safetensors")
    recipe = Recipe().with_settings({"augment": "turn", "turn.file": str(tmp_path / "turn.safetensors")})
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    pipeline = Pipeline(recipe.augment, (8, 8), (8, 8), 3, codebook=CODEBOOK)
    ids = torch.randint(0, 40, (4, 8, 8))
    vectors, _ = pipeline(ids, torch.zeros(4).long(), CODEBOOK, Draws(0, 0, torch.arange(4), 4))
    assert torch.allclose(vectors, torch.einsum("ij,bjhw->bihw", matrix, CODEBOOK[ids].movedim(-1, 1)), atol=1e-5)
    network = pipeline.setting.network("turn", "cpu")
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("points", ["other = turn:Turn", "noise = seit.augment.noise:Noise", "turn = turn:TURNS"])
def test_an_entry_point_that_is_not_an_augmentation_of_its_name_is_refused(points, tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch, points, turn=TURN + "\nTURNS = 3\n")
    with pytest.raises(RecipeError, match=r"the entry point '\w+' of seit.augmentations is not an augmentation of"):
        augment.kinds()


def naive_nearest(vector: torch.Tensor) -> int:
    """The code with the smallest angle to a vector."""
    cosines = [float(vector @ row / (vector.norm() * row.norm())) for row in CODEBOOK.double()]
    return max(range(len(cosines)), key=cosines.__getitem__)


def test_requantised_vectors_are_the_tables_rows_of_the_nearest_codes() -> None:
    ids, labels = torch.randint(0, 40, (3, 8, 8)), torch.zeros(3).long()
    table = torch.randn(40, 9, requires_grad=True)
    draws = Draws(0, 0, torch.arange(3), 4)
    steps = (ResizedCrop(), Noise(1.0, 0.3))
    plain, _ = Pipeline(steps, (8, 8), (6, 6), 3, codebook=CODEBOOK)(ids, labels, CODEBOOK, draws)
    vectors, _ = Pipeline((*steps, Requantise()), (8, 8), (6, 6), 3, codebook=CODEBOOK)(ids, labels, table, draws)
    assert vectors.shape == (3, 9, 6, 6)
    assert vectors.is_contiguous(memory_format=torch.channels_last)
    for row in range(3):
        for y in range(6):
            for x in range(6):
                code = naive_nearest(plain[row, :, y, x].double())
                assert torch.equal(vectors[row, :, y, x], table[code])
    vectors.sum().backward()
    assert float(table.grad.abs().sum()) > 0


def test_ids_that_nothing_changes_come_through_requantisation_as_they_are() -> None:
    ids, table = torch.randint(0, 40, (2, 8, 8)), torch.randn(40, 6)
    pipeline = Pipeline((Requantise(),), (8, 8), (6, 6), 3, codebook=CODEBOOK)
    assert str(pipeline).endswith("-> requantise() -> smoothing(0.1)")
    vectors, _ = pipeline(ids, torch.zeros(2).long(), table, Draws(0, 0, torch.arange(2), 2))
    assert torch.equal(vectors, table[ids[:, 1:7, 1:7]].movedim(-1, 1))
    with pytest.raises(RecipeError, match="augment: there are two augmentations lookup; leave one out"):
        Pipeline((Requantise(), Requantise()), (8, 8), (6, 6), 3, codebook=CODEBOOK)
