"""Random numbers as a pure function of (seed, epoch, position): the same for any worker, rank or batch split.

Number j of a row is the j-th output of splitmix64 started at the row's key, and the key mixes seed, epoch, the
augmentation's own stream and the row's global position. So nothing is drawn "next": two processes that share an
epoch agree without talking, a restart agrees with what it replaces, and an augmentation that is added or dropped
moves no other's draws.
"""

from __future__ import annotations

import functools
import zlib

import numpy as np
import torch
from torch import Tensor

from seit.errors import RecipeError

GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
GROUP = 128
"""Rows that share what is drawn for several of them: those of one process in the released code's trainings."""
_WORD = (1 << 64) - 1


def signed(word: int) -> int:
    """Returns the 64-bit `word` as the int64 of the same bits."""
    word &= _WORD
    return word - (1 << 64) if word >> 63 else word


def mix_word(word: int) -> int:
    """Returns splitmix64's output function of one 64-bit word."""
    word &= _WORD
    word = (word ^ word >> 30) * FIRST & _WORD
    word = (word ^ word >> 27) * SECOND & _WORD
    return word ^ word >> 31


def mix(words: Tensor) -> Tensor:
    """Applies splitmix64's output function to int64 `words`, in place, and returns them."""
    for shift, factor in ((30, FIRST), (27, SECOND)):
        words ^= (words >> shift).bitwise_and_((1 << 64 - shift) - 1)
        words *= signed(factor)
    words ^= (words >> 31).bitwise_and_((1 << 33) - 1)
    return words


class Draws:
    """The random numbers of some rows of one epoch.

    Args:
        seed: the run's.
        epoch: the epoch's number.
        positions: int64 [B], each row's global position in the epoch: a running number over all ranks that no two
            rows of an epoch share. Rows fed again (repeated augmentation, replay) have positions of their own.
        batch: rows of a global batch, so that `positions // batch` is the step.
        device: where the numbers go; the pipeline chooses it. What the program itself must know, such as
            a box, is drawn `on("cpu")` and computed by NumPy: cheaper for a few rows, and the same for any device.
    """

    def __init__(
        self, seed: int, epoch: int, positions: Tensor | np.ndarray, batch: int, device: torch.device | str = "cpu"
    ) -> None:
        self.seed, self.epoch, self.batch = seed, epoch, batch
        self.positions = np.asarray(positions, np.int64)
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.positions)

    def rows(self, chosen: slice | np.ndarray) -> Draws:
        """Returns the draws of some of these rows; they are the same numbers."""
        return Draws(self.seed, self.epoch, self.positions[chosen], self.batch, self.device)

    def on(self, device: torch.device | str) -> Draws:
        """Returns the same draws on another device."""
        return Draws(self.seed, self.epoch, self.positions, self.batch, device)

    def groups(self) -> list[tuple[int, slice]]:
        """Returns the number of each group of rows that occurs here, and where its rows lie.

        A group is `GROUP` rows that follow one another in a global batch, whose last group may be smaller.
        """
        step, place = np.divmod(self.positions, self.batch)
        numbers = step * self._groups_of_a_step + place // GROUP
        starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()]
        return [(int(numbers[a]), slice(a, b)) for a, b in zip(starts, [*starts[1:], len(numbers)], strict=True)]

    @property
    def _groups_of_a_step(self) -> int:
        return -(-self.batch // GROUP)

    def check_pairs(self) -> None:
        """Refuses rows whose partners are not here: rows 2i and 2i + 1 of a global batch stand side by side.

        Raises:
            RecipeError: a batch was split at an odd place.
        """
        for _, rows in self.groups():
            place = self.positions[rows] % self.batch  # in the global batch
            first, second = place[: len(place) // 2 * 2].reshape(-1, 2).T
            if (first % 2 != 0).any() or (second != first + 1).any():
                raise RecipeError(
                    "rows 2i and 2i + 1 of the global batch are not side by side",
                    "augmentation",
                    "split a batch over ranks or accumulation steps at even places only",
                )

    def keys(self, stream: str) -> Tensor:
        """Returns each row's key in `stream`, int64 [B]."""
        return torch.from_numpy(self._keys_at(stream, self.positions)).to(self.device)

    def _keys_at(self, stream: str, positions: np.ndarray) -> np.ndarray:
        from seit.augment import kernels  # numba: only who trains pays for it

        word = _word(self.seed, self.epoch, stream)
        return kernels.bits(positions * signed(GOLDEN) + signed(word - GOLDEN), 1).ravel()

    def bits(self, stream: str, count: int) -> Tensor:
        """Returns `count` numbers of 64 random bits for each row, int64 [B, count]."""
        return bits(self.keys(stream), count)

    def uniform(self, stream: str, count: int) -> Tensor:
        """Returns `count` numbers in [0, 1) for each row, float32 [B, count], multiples of 2^-24."""
        return uniforms(self.keys(stream), count)

    def normal(self, stream: str, count: int) -> Tensor:
        """Returns `count` standard normal numbers for each row, float32 [B, count] (see `normals`)."""
        return normals(self.keys(stream), count)

    def group_uniform(self, stream: str, group: int, count: int) -> list[float]:
        """Returns `count` numbers in [0, 1) that all rows of a group share."""
        key = self._keys_at(stream + "/group", np.array([group]))
        return uniforms(torch.from_numpy(key), count)[0].tolist()

    def uniform_of_group(self, stream: str, group: int) -> np.ndarray:
        """Returns the first number of `uniform(stream, ...)` of every row of a group, here or not, [rows]."""
        step, number = divmod(group, self._groups_of_a_step)
        first = step * self.batch + number * GROUP
        positions = np.arange(first, min(first + GROUP, (step + 1) * self.batch))
        return uniforms(torch.from_numpy(self._keys_at(stream, positions)), 1)[:, 0].numpy()


@functools.lru_cache
def _word(seed: int, epoch: int, stream: str) -> int:
    word = mix_word(seed + GOLDEN)
    for part in (epoch, zlib.crc32(stream.encode())):
        word = mix_word(word + GOLDEN + part)
    return word


def partners(rows: Tensor) -> Tensor:
    """Returns rows of one step with 2i and 2i + 1 in each other's place; the last of an odd number stays."""
    even = len(rows) // 2 * 2
    swapped = rows[:even].unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return swapped if even == len(rows) else torch.cat((swapped, rows[even:]))


def bits(keys: Tensor, count: int) -> Tensor:
    """Returns splitmix64's first `count` outputs from each key, int64 [B, count]; on a CPU by a compiled kernel."""
    if keys.device.type != "cpu":
        return bits_by_torch(keys, count)
    from seit.augment import kernels  # numba: only who trains pays for it

    return torch.from_numpy(kernels.bits(keys.contiguous().numpy(), count))


def bits_by_torch(keys: Tensor, count: int) -> Tensor:
    """Returns the same as `bits`, by PyTorch on any device."""
    steps = torch.arange(1, count + 1, device=keys.device) * signed(GOLDEN)
    return mix(keys[:, None] + steps)


def uniforms(keys: Tensor, count: int) -> Tensor:
    """Returns `count` multiples of 2^-24 in [0, 1) from each key, float32 [B, count]: the words' upper 24 bits."""
    if keys.device.type != "cpu":
        return uniforms_by_torch(keys, count)
    from seit.augment import kernels  # numba: only who trains pays for it

    return torch.from_numpy(kernels.uniforms(keys.contiguous().numpy(), count))


def uniforms_by_torch(keys: Tensor, count: int) -> Tensor:
    """Returns the same as `uniforms`, by PyTorch on any device."""
    words = bits_by_torch(keys, count)
    return words.__irshift__(40).bitwise_and_((1 << 24) - 1).float().mul_(2.0**-24)


def normals(keys: Tensor, count: int) -> Tensor:
    """Returns `count` standard normal numbers from each key, float32 [B, count].

    Each word gives four: 16 bits choose one of the distribution's 65,536 equally likely slices, of which the middle
    is returned, scaled so that the variance is 1 (the largest is 4.3). One look-up costs a fifth of a logarithm, a
    root and a cosine, and gives the same bits on every device.
    """
    words = bits(keys, (count + 3) // 4)
    slices = words.view(torch.int16).int().add_(1 << 15).flatten()
    return quantiles(keys.device).index_select(0, slices).view(len(keys), -1)[:, :count]


@functools.cache
def quantiles(device: torch.device) -> Tensor:
    """Returns the middles of the normal distribution's slices on a device, float32 [65536] (see `normals`)."""
    middles = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    values = torch.special.ndtri(middles)
    return (values / values.square().mean().sqrt()).float().to(device)
