"""Images of every kind of Python in, classes out; the same logits from bytes and from shares of 1."""

import pytest
import torch
from PIL import Image

from seit.errors import ImageError
from seit.models import build
from seit.models.pipeline import ImageClassifier
from seit.tokenizers.conv import ConvTokenizer

VIEW = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


def classifier(pixels: bool) -> ImageClassifier:
    torch.manual_seed(0)
    if pixels:
        return ImageClassifier(build("mini_resnet", "patch4", 3, (32, 32), 3), None, list("abc"), VIEW).eval()
    tokenizer = ConvTokenizer(4, 64, preprocessing=VIEW).requires_grad_(False).eval()
    model = build("mini_resnet", "conv3", 16, (8, 8), 3, codebook=tokenizer.codebook)
    return ImageClassifier(model, tokenizer, list("abc"), VIEW).eval()


@pytest.mark.parametrize("pixels", [False, True], ids=["ids", "pixels"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "L", "P", "RGBA", "I;16"])
def test_pictures_of_every_mode_are_classified_as_their_rgb(mode: str, pixels: bool) -> None:
    model = classifier(pixels)
    picture = Image.radial_gradient("L").resize((40, 40))
    picture = picture.convert("I;16") if mode == "I;16" else Image.merge("RGB", [picture] * 3).convert(mode)
    if mode == "I;16":
        picture = picture.point(lambda value: value * 257)
        expected = Image.radial_gradient("L").resize((40, 40)).convert("RGB")
    else:
        expected = picture.convert("RGB")
    found, wanted = model.predict([picture, expected], top=3)
    for (name, share), (expected_name, expected_share) in zip(found["top"], wanted["top"], strict=True):
        assert (name, share) == (expected_name, pytest.approx(expected_share, abs=1e-5))


def test_a_picture_without_an_agreed_white_is_one_clear_error() -> None:
    with pytest.raises(ImageError, match="a picture: floating-point samples have no agreed white"):
        classifier(True).predict([Image.new("F", (40, 40))])


@pytest.mark.parametrize("pixels", [False, True], ids=["ids", "pixels"])
def test_bytes_and_shares_of_1_give_the_same_logits(pixels: bool) -> None:
    model, images = classifier(pixels), torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(model(images), model(images.float() / 255), atol=1e-5)


def test_gradients_reach_the_pixels_of_a_pixel_run() -> None:
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    classifier(True)(images).square().sum().backward()
    assert float(images.grad.abs().sum()) > 0


def test_gradients_reach_the_pixels_of_a_run_on_ids_through_the_straight_through_codes() -> None:
    model, images = classifier(False), torch.rand(2, 3, 32, 32, requires_grad=True)
    vectors = model.tokenizer.straight_through(model.tokenizer.features(images))
    logits = model.classifier(model.classifier.prepare_vectors(vectors))
    with torch.no_grad():
        assert torch.allclose(logits, model(images), atol=1e-6)
    logits.square().sum().backward()
    assert float(images.grad.abs().sum()) > 0
