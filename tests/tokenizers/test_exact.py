"""Ids are computed in exact float32 wherever they come from, and codes let gradients through where asked."""

from __future__ import annotations

import by_rule
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from seit import tokenizers
from seit.errors import TokenizerError
from seit.models import build
from seit.models.pipeline import ImageClassifier
from seit.tokenizers import Tokenizer
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizing.encoding import Encoder

VIEW = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


def settings() -> tuple[bool, str, bool]:
    return (
        torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
        torch.is_autocast_enabled("cpu"),
    )


class Watched(ConvTokenizer):
    """Notes the settings under which its network runs."""

    def features(self, images: Tensor) -> Tensor:
        self.seen = settings()
        return super().features(images)


@pytest.fixture
def watched() -> Watched:
    torch.manual_seed(0)
    return Watched(4, 64, preprocessing=VIEW, name="watched").requires_grad_(False).eval()


@pytest.fixture
def rounding():
    """PyTorch as it is on a GPU by default (TF32 in convolutions), and as many trainings set it."""
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    yield
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("rounding")
def test_a_network_that_gives_ids_never_rounds_to_tf32_or_half_precision(watched) -> None:
    images = torch.rand(2, 3, 32, 32)
    classifier = build("mini_resnet", "conv3", 16, (8, 8), 3, codebook=watched.codebook)
    model = ImageClassifier(classifier, watched, list("abc"), VIEW).eval()
    before = settings()
    with torch.autocast("cpu", torch.bfloat16):
        watched.encode(images)
    assert watched.seen == (False, "highest", False)
    for use in (
        lambda: model(images),
        lambda: model.predict([Image.new("RGB", (40, 40), "red")]),
        lambda: Encoder(watched).ids(np.zeros((2, 32, 32, 3), np.uint8)),
    ):
        watched.seen = (True, "", True)
        use()
        assert watched.seen == (False, "highest", False)
        assert settings() == before


@pytest.mark.usefixtures("rounding")
def test_settings_come_back_after_an_error(watched) -> None:
    before = settings()
    with pytest.raises(TokenizerError, match="33x32"):
        watched.encode(torch.rand(1, 3, 33, 32))
    assert settings() == before


def test_ids_under_autocast_are_those_without_it() -> None:
    tokenizer, images = tokenizers.load("patch4"), torch.rand(8, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(tokenizer.search(tokenizer.features(images)), tokenizer.encode(images))
        assert torch.equal(tokenizer.encode(images), tokenizers.load("patch4").encode(images))


def _toy(name: str, folder) -> Tokenizer:
    _, path = by_rule.original_file(name, folder)
    return tokenizers.load(path)


@pytest.mark.parametrize("name", ["toy-taming", "toy-vitvq", "toy-llamagen", "toy-gumbel"])
def test_straight_through_gives_the_stored_row_and_the_searched_features_gradient(name: str, tmp_path) -> None:
    tokenizer = _toy(name, tmp_path)
    image = by_rule.image("another", 1, 64, 64)
    features = tokenizer.features(image).detach().requires_grad_()
    vectors = tokenizer.straight_through(features)
    rows = tokenizer.codebook[tokenizer.encode(image)].movedim(-1, 1)
    assert torch.equal(vectors, rows)
    weights = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad((vectors * weights).sum(), features)
    # The same map without the rounding to a code, written down for each family.
    free = features.detach().requires_grad_()
    if name == "toy-gumbel":
        smooth = torch.einsum("bkhw,kd->bdhw", tokenizer.proj(free).softmax(1), tokenizer.codebook)
    elif tokenizer.unit_codes:
        smooth = F.normalize(free, dim=1) * rows.square().sum(1, keepdim=True).sqrt()
    else:
        smooth = free
    (expected,) = torch.autograd.grad((smooth * weights).sum(), free)
    assert found.abs().max() > 0
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_gradient_of_straight_through_reaches_the_pixels(tmp_path) -> None:
    tokenizer = _toy("toy-vitvq", tmp_path)
    image = by_rule.image("another", 1, 64, 64).requires_grad_()
    vectors = tokenizer.straight_through(tokenizer.features(image))
    (vectors * torch.randn(vectors.shape)).sum().backward()
    assert float(image.grad.abs().sum()) > 0
