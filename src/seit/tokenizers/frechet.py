"""rFID: the Frechet distance between pictures and their reconstructions, by torch-fidelity (an extra).

Its Inception network's weights are no part of the package: torch-fidelity downloads them once into torch's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seit.errors import TokenizerError
from seit.tokenizers.base import Tokenizer


class Frechet:
    """Gathers Inception features of originals and reconstructions, as uint8 pictures at the size they have.

    Args:
        tokenizer: whose pictures are compared; the network goes to its device.

    Raises:
        TokenizerError: torch-fidelity or its weights are not to be had, or the pictures are no colour or grey ones.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if tokenizer.channels not in (1, 3):
            where = f"tokenizer {tokenizer.name}"
            raise TokenizerError(f"rFID is for RGB and grey pictures, not {tokenizer.channels} channels", where)
        try:
            from torch_fidelity import utils
        except ImportError as error:
            raise TokenizerError(
                "rFID needs the package torch-fidelity", "--rfid", "pip install torch-fidelity"
            ) from error
        try:
            network = utils.create_feature_extractor("inception-v3-compat", ["2048"], cuda=False, verbose=False)
        except Exception as error:  # of the network, of the file's hash or of torch, whichever comes first
            raise TokenizerError(
                f"rFID needs the weights of torch-fidelity's Inception network, which are not to be had ({error})",
                "--rfid",
                f"connect to the network, or put that file into {torch.hub.get_dir()}/checkpoints",
            ) from error
        self._network = network.to(tokenizer.codebook.device)
        self._features: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, images: Tensor, decoded: Tensor) -> None:
        """Takes a batch and its reconstruction, both [B, C, H, W] in [0, 1]."""
        for kept, pictures in zip(self._features, (images, decoded), strict=True):
            colour = (pictures * 255).round().byte().expand(-1, 3, -1, -1)
            kept.append(self._network(colour)[0].cpu())

    def value(self) -> float:
        """Returns the distance. Below some thousand pictures it mostly measures how few they are.

        Raises:
            TokenizerError: there are fewer than two pictures.
        """
        from torch_fidelity import metric_fid

        sides: list[Any] = []
        for kept in self._features:
            features = torch.cat(kept)
            if len(features) < 2:
                raise TokenizerError("rFID needs more pictures than one", "--rfid", "give a larger source")
            sides.append(metric_fid.fid_features_to_statistics(features))
        return metric_fid.fid_statistics_to_metric(*sides, verbose=False)[metric_fid.KEY_METRIC_FID]
