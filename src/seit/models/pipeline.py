"""Images in, classes out: a tokenizer and the classifier that was trained on its ids, saved and loaded together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from safetensors import SafetensorError
from torch import Tensor, nn

from seit import tokenizers
from seit.device import autocast
from seit.errors import ImageError, RunError
from seit.images import decode, to_rgb, to_view
from seit.models.classifier import Classifier
from seit.run import Run
from seit.tokenizers.base import Tokenizer

_BATCH_PIXELS = 1 << 22


class ImageClassifier(nn.Module):
    """What `seit.load(run)` returns.

    Args:
        classifier: takes ids, or pixels if it was trained on them.
        tokenizer: searches within the codes that the classifier knows; None for pixels.
        classes: names in label order.
        preprocessing: how an image becomes a view.
        precision: the recipe's.

    Example:
        >>> model = seit.load("runs/mine")
        >>> model.predict(["cat.jpg"])[0]
        {'image': 'cat.jpg', 'class': 'cat', 'probability': 0.93, ...}
    """

    def __init__(
        self,
        classifier: Classifier,
        tokenizer: Tokenizer | None,
        classes: list[str],
        preprocessing: dict[str, Any],
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.classifier, self.tokenizer, self.classes = classifier, tokenizer, classes
        self.preprocessing, self.precision = preprocessing, precision

    def forward(self, images: Tensor) -> Tensor:
        """Maps views [B, 3, H, W], uint8 or floats in [0, 1], to logits [B, C]."""
        if self.tokenizer is None:
            return self.classify(images)
        return self.classify(self.tokenizer.encode(images if images.is_floating_point() else images.float() / 255))

    def classify(self, inputs: Tensor) -> Tensor:
        """Maps ids [B, h, w], or of a pixel run views as `forward` takes them, to logits [B, C].

        An exported (or compiled) program computes in float32, whatever the recipe's precision.
        """
        prepared = self.classifier.prepare(inputs)
        if torch.compiler.is_compiling():
            return self.classifier(prepared).float()
        with autocast(prepared.device, self.precision):
            return self.classifier(prepared).float()

    @torch.inference_mode()
    def predict(
        self, images: Sequence[str | os.PathLike[str] | bytes | Pillow.Image], top: int = 5
    ) -> list[dict[str, Any]]:
        """Classifies images.

        Args:
            images: paths, encoded bytes or Pillow pictures.
            top: classes listed for each.

        Returns:
            One dict an image: image (its path, or its position), class, probability, and top, a list of
            [class, probability].

        Raises:
            ImageError: one cannot be read.
        """
        device = next(self.parameters()).device
        size = max(1, _BATCH_PIXELS // self.preprocessing["size"] ** 2)
        results: list[dict[str, Any]] = []
        for start in range(0, len(images), size):
            views = [self._view(image) for image in images[start : start + size]]
            batch = torch.from_numpy(np.stack(views)).to(device).permute(0, 3, 1, 2)
            shares = self(batch).softmax(-1).cpu()
            best = shares.topk(min(top, len(self.classes)))
            for row, (values, labels) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
                image = images[start + row]
                named = [[self.classes[label], value] for label, value in zip(labels, values, strict=True)]
                results.append(
                    {
                        "image": os.fspath(image) if isinstance(image, str | os.PathLike) else start + row,
                        "class": named[0][0],
                        "probability": named[0][1],
                        "top": named,
                    }
                )
        return results

    def _view(self, image: str | os.PathLike[str] | bytes | Pillow.Image) -> np.ndarray:
        channels = self.preprocessing.get("channels", 3)
        if isinstance(image, Pillow.Image):
            return to_view(to_rgb(image, "a picture", channels), self.preprocessing)
        if isinstance(image, bytes):
            return to_view(decode(image, "an image", channels), self.preprocessing)
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror})", str(image), "check the path") from error
        return to_view(decode(data, os.fspath(image), channels), self.preprocessing)


def load(run: str | os.PathLike[str], device: str | torch.device = "cpu") -> ImageClassifier:
    """Opens the classifier of a finished run, with its tokenizer.

    Raises:
        RunError: no run there, or it is not finished, or its tokenizer was not at hand when it was trained.
    """
    about, classifier, file = Run(run).finished(), classifier_of(run), Run(run).tokenizer
    tokenizer = None
    if about["recipe"]["input"] == "ids":
        if not file.exists():
            raise RunError(
                f"its tokenizer {about['tokenizer']['name']!r} was not at hand when it was trained",
                str(run),
                f"copy the tokenizer's file to {file}",
            )
        tokenizer = tokenizers.load(file).keep(torch.tensor(about["used_codes"]))
    model = ImageClassifier(
        classifier, tokenizer, about["classes"], about["preprocessing"], about["recipe"]["precision"]
    )
    return model.eval().to(device)


def classifier_of(run: str | os.PathLike[str]) -> Classifier:
    """Returns the classifier of a finished run alone, on the CPU.

    Raises:
        RunError: no run there, or it is not finished or damaged.
    """
    Run(run).finished()
    folder = Run(run).classifier
    try:
        return Classifier.from_pretrained(str(folder))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise RunError(f"is damaged ({first})", str(folder), "copy it again, or train again") from error
