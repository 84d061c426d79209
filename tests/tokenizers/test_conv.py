"""The bundled family: any size, differentiable both ways, and a linear start that is a projection."""

from __future__ import annotations

import pytest
import torch

from seit.errors import TokenizerError
from seit.tokenizers import bundled, load
from seit.tokenizers.conv import ConvTokenizer

VIEW = {"size": 64, "resize": "squash", "interpolation": "bicubic"}


def tiny(patch: int = 4) -> ConvTokenizer:
    torch.manual_seed(0)
    return ConvTokenizer(patch, 32, 6, (8, 12), (1, 1), preprocessing=VIEW, name="tiny")


@pytest.mark.parametrize("patch", [4, 8])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (24, 80)])
def test_every_multiple_of_the_patch_is_a_size(patch: int, height: int, width: int) -> None:
    tokenizer, images = tiny(patch), torch.rand(2, 3, height, width)
    ids = tokenizer.encode(images)
    assert ids.shape == (2, height // patch, width // patch) == (2, *tokenizer.grid(height, width))
    assert ids.dtype == torch.int64
    assert tokenizer.decode(ids).shape == images.shape
    assert 0 <= tokenizer.decode(ids).min() <= tokenizer.decode(ids).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(62, 64), (64, 2), (0, 64)])
def test_other_sizes_are_refused_with_the_patch(height: int, width: int) -> None:
    with pytest.raises(TokenizerError, match="multiples of 4"):
        tiny().encode(torch.rand(1, 3, height, width))


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8)]
)
def test_what_is_no_float_image_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(TokenizerError, match=r"float32 \[B, 3, H, W\]"):
        tiny().encode(images)


def test_decoding_is_differentiable_in_its_vectors() -> None:
    tokenizer = tiny()
    vectors = torch.randn(1, 6, 3, 5, requires_grad=True)
    tokenizer.decode_vectors(vectors).square().sum().backward()
    assert vectors.grad is not None
    assert (vectors.grad.abs().amax((0, 1)) > 0).all()  # every cell


def test_features_are_differentiable_in_the_image() -> None:
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    tiny().features(images).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


def test_the_linear_start_reconstructs_what_its_components_span() -> None:
    tokenizer = tiny()
    basis = torch.linalg.qr(torch.randn(48, 6, generator=torch.Generator().manual_seed(2)))[0].T
    tokenizer.start_linear(basis, torch.zeros(48))
    patches = torch.randn(10, 6, generator=torch.Generator().manual_seed(3)) @ basis * 0.1
    images = (patches.view(10, 3, 4, 4) + 1) / 2
    assert torch.allclose(tokenizer.decode_vectors(tokenizer.features(images)), images, atol=1e-5)


def test_a_pictures_ids_do_not_depend_on_what_else_is_in_the_batch() -> None:
    tokenizer, images = tiny(), torch.rand(4, 3, 16, 24)
    together = tokenizer.features(images)
    alone = torch.cat([tokenizer.features(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_tokenizer_is_small_and_opens(name: str) -> None:
    tokenizer = load(name)
    assert tokenizer.name == name
    assert tokenizer.codebook.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters())
