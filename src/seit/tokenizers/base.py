"""The tokenizer contract: image -> features -> ids -> vectors -> image.

A tokenizer is one file in this folder. It subclasses `Tokenizer`, and everything else in seit (tokenize,
show, predict, robustness) uses only what stands here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seit.errors import TokenizerError
from seit.tokenizers.search import euclidean


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Computes in whole float32, without autocast and TF32: either rounds features so that near-ties change ids.

    PyTorch lets convolutions use TF32 by default on a GPU; the settings before are put back afterwards.
    """
    if torch.compiler.is_compiling():  # a traced program keeps no settings
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


class Tokenizer(nn.Module, ABC):
    """A frozen VQ model whose ids stand for an image (paper, section 3.1).

    Shapes: images are float32 [B, C, H, W] in [0, 1] (a family's own range is its own business), features and
    vectors float32 [B, d, h, w], ids int64 [B, h, w] in 0..K-1. C is 3 in every published tokenizer.

    Attributes:
        name: what the user loads it by.
        codebook: [K, d] float32, one vector per id.
        patch: pixels per cell side.
        preprocessing: how an image becomes the view that is encoded, e.g.
            {"size": 256, "resize": "squash", "interpolation": "bicubic"}, and {"channels": C} where that is not 3.
        channels: C.
        unit_codes: whether a code is a direction: searched by angle, decoded at norm 1.

    A family's constructor takes what `config` returns, and `preprocessing` and `name` by keyword.
    """

    family: ClassVar[str]
    name: str
    codebook: Tensor
    patch: int
    preprocessing: dict[str, Any]
    channels: int = 3
    unit_codes: bool = False

    @property
    def vocabulary(self) -> int:
        """K, the number of codes."""
        return self.codebook.shape[0]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns (h, w), the cells of an image of `height` x `width` pixels.

        Raises:
            TokenizerError: the patch does not divide the image.
        """
        if height % self.patch or width % self.patch or height < self.patch or width < self.patch:
            raise TokenizerError(
                f"an image of {height}x{width} pixels does not divide into cells of {self.patch}x{self.patch}",
                f"tokenizer {self.name}",
                f"choose sides that are multiples of {self.patch}",
            )
        return height // self.patch, width // self.patch

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] to features [B, d, h, w] before quantisation; differentiable."""

    @abstractmethod
    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, h, w], also noised or mixed ones, to images [B, C, H, W], not clamped."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns the JSON-able arguments that rebuild this tokenizer without its weights."""

    def search(self, features: Tensor) -> Tensor:
        """Maps features [B, d, h, w] to ids [B, h, w] int64: here the nearest code by squared distance.

        A family with another rule overrides this. Float32 whatever the autocast; the lowest id wins a tie.
        """
        return euclidean(features, self.codebook)

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns each cell's code: ids [B, h, w] int64 and vectors [B, d, h, w]."""
        ids = self.search(features)
        return ids, self.lookup(ids)

    def straight_through(self, features: Tensor) -> Tensor:
        """Returns each cell's stored code [B, d, h, w], with the gradient of `features` behind it.

        The value is the codebook's row to the bit. Its gradient is that of the feature in the space of the search,
        as if nothing had been rounded to a code: for `unit_codes` the feature's direction, times the row's norm.
        For attacks on classifiers of ids, and for whatever else differentiates through a code.

        Args:
            features: [B, d, h, w].
        """
        rows = self.lookup(self.search(features))
        if not self.unit_codes:
            return rows + (features - features.detach())
        directions = F.normalize(features, dim=1)
        return rows + rows.norm(dim=1, keepdim=True) * (directions - directions.detach())

    def keep(self, codes: Tensor) -> Self:
        """Searches within these codes alone from now on; id i then stands for code `codes[i]`.

        A data set keeps the codes that occur in it (the paper's 391 of 8192); new images for it, or for a
        classifier trained on it, are encoded within them, as the released code does.

        Args:
            codes: int64 [K'], codes of the full codebook.
        """
        self.codebook = self.codebook[codes.to(self.codebook.device)]
        return self

    def encode(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] in [0, 1] to ids [B, h, w] int64, in exact float32 (see `exact`).

        Raises:
            TokenizerError: the images are not floats of C channels, or not of a size for this tokenizer.
        """
        if images.ndim != 4 or images.shape[1] != self.channels or not images.is_floating_point():
            raise TokenizerError(
                f"images are {images.dtype} {list(images.shape)}",
                f"tokenizer {self.name}",
                f"give float32 [B, {self.channels}, H, W] in [0, 1]",
            )
        with exact(images.device):
            return self.search(self.features(images))

    def lookup(self, ids: Tensor) -> Tensor:
        """Maps ids [B, h, w] to their codebook vectors [B, d, h, w]."""
        return F.embedding(ids, self.codebook).movedim(-1, 1)

    def decode(self, ids: Tensor) -> Tensor:
        """Maps ids [B, h, w] to images [B, C, H, W] in [0, 1]."""
        return self.decode_vectors(self.lookup(ids)).clamp(0, 1)

    def identity(self) -> str:
        """Returns the hex SHA-256 over family, weights, preprocessing and code map.

        Two data sets can be mixed, and a classifier fed, only if their identities are equal.
        """
        digest = hashlib.sha256()
        described = {"family": self.family, "config": self.config(), "preprocessing": self.preprocessing}
        digest.update(json.dumps(described, sort_keys=True).encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(f"{key} {list(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def provenance(self) -> dict[str, str]:
        """Returns what can move a near-tied id but is not compared: device, precision, versions."""
        return {
            "device": str(self.codebook.device.type),
            "precision": str(self.codebook.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": str(torch.get_num_threads()),
        }


def channels_of(channels: int) -> dict[str, int]:
    """Returns {"channels": C} for a configuration or a preprocessing; nothing for RGB, which is what none means."""
    return {} if channels == 3 else {"channels": channels}
