"""Token-CutMix and Mixup: neighbours in the global batch exchange a box, or blend, and their targets with them."""

from __future__ import annotations

from torch import Tensor

from seit.augment.base import OnVectors, check_probability
from seit.augment.draws import Draws
from seit.errors import RecipeError

TRIES = 64


class CutMix(OnVectors):
    """Mixes rows 2i and 2i + 1 of the global batch (paper, section 3.2.1, Token-CutMix; Table B.1).

    The paper gives neither the box nor who is pasted into whom. As in the released code the batch shares one
    draw: lam from Beta(alpha, alpha), a box of sides n sqrt(1 - lam) about a uniform centre, clipped at the border,
    and lam recomputed from the box's area. The partner is the neighbour, where the released code takes the row
    mirrored at the batch's middle: rows come in random order, so that is the same draw, but neighbours stay
    together in any even split of the batch over ranks and accumulation steps. The last row of an odd batch stays.

    Args:
        cutmix: probability that a batch is CutMixed.
        mixup: probability that it is blended instead, lam row + (1 - lam) partner.
        cutmix_alpha: Beta's parameter, in (0, 1].
        mixup_alpha: the same for Mixup.

    Raises:
        RecipeError: no probabilities, or their sum above 1, or an alpha outside (0, 1].
    """

    name = "cutmix"

    def __init__(
        self, cutmix: float = 1.0, mixup: float = 0.0, cutmix_alpha: float = 1.0, mixup_alpha: float = 0.8
    ) -> None:
        self.cutmix, self.mixup = check_probability("cutmix", cutmix), check_probability("mixup", mixup)
        if cutmix + mixup > 1:
            raise RecipeError(
                f"CutMix with {cutmix} and Mixup with {mixup} is more than 1", "cutmix", "a batch gets one of them"
            )
        for name, alpha in (("cutmix_alpha", cutmix_alpha), ("mixup_alpha", mixup_alpha)):
            if not 0 < alpha <= 1:
                raise RecipeError(f"an alpha of {alpha}", name, "choose a value in (0, 1]")
        self.cutmix_alpha, self.mixup_alpha = cutmix_alpha, mixup_alpha

    def __call__(self, vectors: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mixes vectors [B, d, m, m] and targets [B, C] in place.

        Raises:
            RecipeError: partners are not side by side, or not both here.
        """
        for step, rows in draws.steps():
            if len(vectors[rows]) != rows.stop - rows.start:
                raise RecipeError(f"{len(vectors)} rows with {len(draws)} positions", "cutmix", "give one for each")
            place = draws.positions[rows] - step * draws.batch  # in the global batch
            first, second = place[: len(place) // 2 * 2].view(-1, 2).unbind(1)
            if bool((first % 2 != 0).any() or (second != first + 1).any()):
                raise RecipeError(
                    "rows 2i and 2i + 1 of the global batch are not side by side",
                    "cutmix",
                    "split a batch over ranks or accumulation steps at even places only",
                )
            self._mix(vectors[rows], targets[rows], step, draws)
        return vectors, targets

    def _mix(self, vectors: Tensor, targets: Tensor, step: int, draws: Draws) -> None:
        pairs = len(vectors) // 2
        vectors, targets = vectors[: 2 * pairs], targets[: 2 * pairs]
        choice, row, column, *rest = draws.step_uniform(self.name, step, 3 + 2 * TRIES)
        if choice < self.cutmix:
            height, width = vectors.shape[2:]
            top, bottom, left, right = box(beta(self.cutmix_alpha, rest), row, column, height, width)
            inside = vectors[:, :, top:bottom, left:right]
            inside.copy_(_partners(inside))
            lam = 1 - (bottom - top) * (right - left) / (height * width)
        elif choice < self.cutmix + self.mixup:
            lam = beta(self.mixup_alpha, rest)
            vectors.copy_(vectors * lam + _partners(vectors) * (1 - lam))
        else:
            return
        targets.copy_(targets * lam + _partners(targets) * (1 - lam))

    def __str__(self) -> str:
        mixup = f", mixup={self.mixup:g} (alpha={self.mixup_alpha:g})" if self.mixup else ""
        return f"cutmix(p={self.cutmix:g} (alpha={self.cutmix_alpha:g}){mixup})"


def _partners(rows: Tensor) -> Tensor:
    return rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


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
