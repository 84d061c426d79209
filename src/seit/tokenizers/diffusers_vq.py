"""Opens any `VQModel` folder of diffusers (an extra: `pip install diffusers`), with its own encoder and decoder."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from seit.errors import TokenizerError
from seit.tokenizers.base import Tokenizer


class DiffusersVQ(Tokenizer):
    """A `diffusers.VQModel` for images in [0, 1] (inside it works in [-1, 1]); nearest code by squared distance.

    Args:
        model: the model's configuration, as diffusers writes it.
        codes: K, where it is no longer the configuration's.
        preprocessing: see `Tokenizer`; SeiT's own if left out.
        name: what the user loads it by.

    Raises:
        TokenizerError: diffusers is not installed.
    """

    family = "diffusers"

    def __init__(
        self,
        model: dict[str, Any],
        codes: int | None = None,
        *,
        preprocessing: dict[str, Any] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.name, self._config = name, {key: value for key, value in model.items() if not key.startswith("_")}
        self.model = _library().VQModel.from_config(self._config)
        table = self.model.quantize.embedding.weight
        del self.model.quantize  # the search is ours: the library's differs in near-ties and cannot be reduced
        self.register_buffer("codebook", torch.zeros(codes or table.shape[0], table.shape[1]))
        self.patch = 2 ** (len(self.model.config["block_out_channels"]) - 1)
        size = self.model.config["sample_size"] if self.model.config["sample_size"] >= 64 else 256
        self.preprocessing = preprocessing or {"size": size, "resize": "squash", "interpolation": "bicubic"}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> DiffusersVQ:
        """Opens a folder of config.json and weights; nothing is downloaded.

        Raises:
            TokenizerError: diffusers is not installed, or cannot open the folder.
        """
        try:
            # low_cpu_mem_usage asks for one more package (accelerate) and is about big models.
            model = _library().VQModel.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise TokenizerError(f"is no VQModel that diffusers opens ({error})", str(folder)) from error
        tokenizer = cls(dict(model.config), name=str(folder))
        tokenizer.codebook = model.quantize.embedding.weight.detach().float()
        del model.quantize
        tokenizer.model = model.float()
        return tokenizer.requires_grad_(False).eval()

    def config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"model": self._config, "codes": self.vocabulary}

    def features(self, images: Tensor) -> Tensor:
        """Maps images [B, 3, H, W] in [0, 1] to features [B, d, h, w]."""
        self.grid(*images.shape[-2:])
        return self.model.encode(images * 2 - 1).latents

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, h, w] to images [B, 3, h*patch, w*patch], about in [0, 1], not clamped."""
        return (self.model.decode(vectors, force_not_quantize=True).sample + 1) / 2


def _library() -> Any:
    """Imports diffusers.

    Raises:
        TokenizerError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise TokenizerError("needs the package diffusers", "a VQModel", "pip install diffusers") from error
    return diffusers
