"""Token-CutMix and Mixup: neighbours in the global batch exchange a box, or blend, and their targets with them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seit.augment.base import OnVectors, check_probability
from seit.augment.draws import Draws, partners
from seit.augment.setting import Setting
from seit.errors import RecipeError

TRIES = 64


@dataclass(frozen=True)
class CutMix(OnVectors):
    """Mixes rows 2i and 2i + 1 of the global batch (paper, section 3.2.1, Token-CutMix; Table B.1).

    The paper gives neither the box nor who is pasted into whom. As in the released code, whose processes draw for
    the 128 rows that each of them holds, a group of `draws.GROUP` consecutive rows of the global batch shares one
    draw: lam from Beta(alpha, alpha), a box of sides n sqrt(1 - lam) about a uniform centre, clipped at the border,
    and lam recomputed from the box's area. The partner is the neighbour, where the released code takes the row
    mirrored at the middle: rows come in random order, so that is the same draw, but neighbours stay together in any
    even split of the batch over ranks and accumulation steps. The last row of an odd batch stays.

    Args:
        probability: of each group, to be CutMixed.
        alpha: Beta's parameter, in (0, 1].
        mixup: probability that a group is blended instead, lam row + (1 - lam) partner.
        mixup_alpha: Beta's parameter there.

    Raises:
        RecipeError: probabilities outside [0, 1], or their sum above 1, or an alpha outside (0, 1].
    """

    probability: float = 1.0
    alpha: float = 1.0
    mixup: float = 0.0
    mixup_alpha: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("cutmix.mixup", self.mixup)
        if self.probability + self.mixup > 1:
            raise RecipeError(
                f"CutMix with {self.probability} and Mixup with {self.mixup} is more than 1",
                "cutmix",
                "a group of rows gets one of them",
            )
        for name in ("alpha", "mixup_alpha"):
            if not 0 < getattr(self, name) <= 1:
                raise RecipeError(
                    f"an alpha of {getattr(self, name)}", f"cutmix.{name}", "choose a value in (0, 1]"
                )

    @property
    def off(self) -> bool:
        """Whether it neither cuts nor blends."""
        return self.probability == self.mixup == 0

    def in_every_row(self) -> CutMix:
        """Returns it as it cuts every group."""
        return CutMix(1.0, self.alpha)

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws, setting: Setting) -> tuple[Tensor, Tensor]:
        """Mixes vectors [B, d, m, m] and targets [B, C] in place.

        Raises:
            RecipeError: partners are not side by side, or not both here.
        """
        draws.check_pairs()
        for group, rows in draws.groups():
            self._mix(vectors[rows], targets[rows], group, draws)
        return vectors, targets

    def _mix(self, vectors: Tensor, targets: Tensor, group: int, draws: Draws) -> None:
        even = len(vectors) // 2 * 2
        vectors, targets = vectors[:even], targets[:even]
        choice, row, column, *rest = draws.group_uniform(self.name, group, 3 + 2 * TRIES)
        if choice < self.probability:
            height, width = vectors.shape[2:]
            top, bottom, left, right = box(beta(self.alpha, rest), row, column, height, width)
            first, second = vectors[::2, :, top:bottom, left:right], vectors[1::2, :, top:bottom, left:right]
            kept = first.clone()
            first.copy_(second)
            second.copy_(kept)
            lam = 1 - (bottom - top) * (right - left) / (height * width)
        elif choice < self.probability + self.mixup:
            lam = beta(self.mixup_alpha, rest)
            vectors.lerp_(partners(vectors), 1 - lam)
        else:
            return
        targets.lerp_(partners(targets), 1 - lam)


def beta(alpha: float, u: list[float]) -> float:
    """Returns one number of Beta(alpha, alpha), alpha <= 1, from pairs of uniform numbers.

    Jöhnk's way: the first pair with x = u^(1/alpha), y = v^(1/alpha), x + y <= 1 gives x / (x + y); at least
    half of all pairs do.
    """
    if alpha == 1:
        return u[0]
    for first, second in zip(u[::2], u[1::2], strict=True):
        x, y = first ** (1 / alpha), second ** (1 / alpha)
        if 0 < x + y <= 1:
            return x / (x + y)
    return 0.5


def box(lam: float, row: float, column: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Returns CutMix's box (top, bottom, left, right; ends excluded) for uniform `row` and `column`."""
    share = (1 - lam) ** 0.5
    half_h, half_w = int(height * share) // 2, int(width * share) // 2
    y, x = int(row * height), int(column * width)
    return max(y - half_h, 0), min(y + half_h, height), max(x - half_w, 0), min(x + half_w, width)
