"""What data and model settle for every augmentation: sides, codebook and what derives from it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from seit.errors import RecipeError

COUNT = 5


class Setting:
    """What augmentations are told of data and model; every table is made once, and copied once to each device.

    Args:
        grid: (h, w) of the ids, or (H, W) of a pixel run's images.
        size: (m, m) of the model's input.
        view: the centre region that the model sees at evaluation.
        codebook: [K, d] float32 before training; None in a pixel run.
        mirror: returns the id of each code's mirrored patch, int64 [K]; None where no tokenizer is at hand.
        networks: the networks that augmentations carry, by the augmentation's name.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        size: tuple[int, int],
        view: tuple[int, int],
        codebook: Tensor | None = None,
        mirror: Callable[[], Tensor] | None = None,
        networks: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.grid, self.size, self.view, self.mirror = grid, size, view, mirror
        # A copy: a learned table changes, what was made of its first state (synonyms, the noise's unit) must not.
        self._codebook = None if codebook is None else codebook.detach().float().cpu().clone()
        self._networks = dict(networks or {})
        self._copies: dict[tuple[str, torch.device], Tensor] = {}

    @property
    def has_codebook(self) -> bool:
        """Whether the run is on ids."""
        return self._codebook is not None

    def codebook(self, device: torch.device | str) -> Tensor:
        """Returns the codebook before training, float32 [K, d].

        Raises:
            RecipeError: the run is on pixels.
        """
        return self._on(device, "codebook", lambda: self._codes)

    def synonyms(self, device: torch.device | str) -> Tensor:
        """Returns each code's nearest other codes, int64 [K, 5] (see `synonyms`)."""
        return self._on(device, "synonyms", lambda: synonyms(self._codes))

    def mirrored(self, device: torch.device | str) -> Tensor:
        """Returns the id of each code's mirrored patch, int64 [K]."""
        assert self.mirror is not None
        return self._on(device, "mirrored", self.mirror)

    @functools.cached_property
    def rms(self) -> float:
        """The codebook's root mean square entry."""
        return float(self._codes.square().mean().sqrt())

    def network(self, name: str, device: torch.device | str) -> nn.Module:
        """Returns the network that the augmentation called `name` carries, on a device."""
        return self._networks[name].to(device)

    @property
    def _codes(self) -> Tensor:
        if self._codebook is None:
            raise RecipeError("pixels have no codebook", "augmentation", "leave it out of augment")
        return self._codebook

    def _on(self, device: torch.device | str, name: str, make: Callable[[], Tensor]) -> Tensor:
        cpu, there = torch.device("cpu"), torch.device(device)
        if (name, cpu) not in self._copies:
            self._copies[name, cpu] = make()
        if (name, there) not in self._copies:
            self._copies[name, there] = self._copies[name, cpu].to(there)
        return self._copies[name, there]


def synonyms(codebook: Tensor, count: int = COUNT) -> Tensor:
    """Returns each code's nearest other codes by Euclidean distance, int64 [K, count], nearest first.

    Equal distances go by the lower id. With fewer than `count` other codes there are only those.

    Args:
        codebook: [K, d].
        count: how many.

    Raises:
        RecipeError: the codebook has one code.
    """
    codes = codebook.detach().double()
    if len(codes) < 2:
        raise RecipeError("a codebook of one code has no synonyms", "synonym", "leave it out of augment")
    square, count = codes.square().sum(1), min(count, len(codes) - 1)
    nearest = []
    for at in range(0, len(codes), 1024):
        part = codes[at : at + 1024]
        distance = square - 2 * part @ codes.T  # the own square is the same for all candidates
        distance[torch.arange(len(part)), torch.arange(at, at + len(part))] = torch.inf
        nearest.append(distance.sort(stable=True, dim=1).indices[:, :count])
    return torch.cat(nearest)
