"""From a recipe's numbers to the pipeline that they mean."""

from __future__ import annotations

from torch import Tensor

from seit.augment.base import Crop, OnIds, OnVectors, Pipeline
from seit.augment.crop import CentreCrop, RandomCrop, ResizedCrop, check_sizes
from seit.augment.cutmix import CutMix
from seit.augment.flip import Flip
from seit.augment.noise import Noise
from seit.augment.swap import Swap
from seit.augment.synonym import Synonym, synonyms
from seit.errors import RecipeError, nearest_names

CROPS = ("rrc", "random", "centre")


def pipeline(
    grid: tuple[int, int],
    size: tuple[int, int],
    classes: int,
    *,
    codebook: Tensor | None = None,
    synonym: float = 0.25,
    swap: float = 0.25,
    flip: float = 0.0,
    mirror: Tensor | None = None,
    crop: str = "rrc",
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    view: tuple[int, int] | None = None,
    cutmix: float = 1.0,
    cutmix_alpha: float = 1.0,
    mixup: float = 0.0,
    mixup_alpha: float = 0.8,
    noise: float = 0.5,
    noise_std: float = 1.0,
    noise_unit: str = "rms",
    smoothing: float = 0.1,
    released: bool = False,
) -> Pipeline:
    """Builds the augmentation pipeline; the defaults are the paper's for ImageNet-1k tokens (Table B.1).

    Args:
        grid: (h, w) of the ids, or (H, W) of a pixel run's images.
        size: (m, m) of the model's input.
        classes: C.
        codebook: [K, d], for synonyms and the noise's unit; None for pixels, which take no Token-EDA or Emb-Noise.
        synonym: p_s, probability that an id is replaced.
        swap: p_r, probability that two squares of a row are exchanged.
        flip: probability that a row is mirrored.
        mirror: int64 [K], ids of mirrored codes, which `flip` needs for ids.
        crop: "rrc", "random" (no resizing) or "centre" (nothing random).
        scale: Token-RRC's bounds of the area.
        ratio: its bounds of width / height.
        view: the centre crop's region; `size` where it is None.
        cutmix: probability that a batch is CutMixed.
        cutmix_alpha: its Beta parameter.
        mixup: probability that a batch is blended instead.
        mixup_alpha: its Beta parameter.
        noise: probability that a row gets Emb-Noise.
        noise_std: its standard deviation.
        noise_unit: "rms" counts it in root mean square entries of the codebook, "raw" as it is.
        smoothing: label smoothing.
        released: follow the released code where it departs from the paper: each row gets one of synonyms,
            swap or neither; exactly half of a batch gets noise, before CutMix.

    Returns:
        The pipeline, in the order of Fig. 3.

    Raises:
        RecipeError: a probability outside [0, 1], m > n, unknown names, or settings that contradict each other.
    """
    check_sizes(grid, size)
    if codebook is None and (synonym or swap or noise):
        raise RecipeError("synonyms, swap and Emb-Noise are for ids", "augmentation", "set them to 0 for pixels")
    if released and synonym + swap > 1:
        raise RecipeError("a row gets one of synonyms and swap", "released", "let them sum to at most 1")
    on_ids: list[OnIds] = []
    if flip:
        if codebook is not None and mirror is None:
            raise RecipeError("mirroring ids needs their mirror table", "flip", "give mirror, or set flip to 0")
        on_ids.append(Flip(flip, mirror))
    if synonym and codebook is not None:
        on_ids.append(Synonym(synonym, synonyms(codebook), (0, synonym) if released else None))
    if swap:
        on_ids.append(Swap(swap, (synonym, synonym + swap) if released else None))
    on_vectors: list[OnVectors] = []
    if cutmix or mixup:
        on_vectors.append(CutMix(cutmix, mixup, cutmix_alpha, mixup_alpha))
    if noise and codebook is not None:
        on_vectors.append(Noise(noise, noise_std, _unit(noise_unit, codebook), half=released))
    if released:
        on_vectors.reverse()
    return Pipeline(on_ids, _crop(crop, size, scale, ratio, view), on_vectors, classes, smoothing)


def _unit(name: str, codebook: Tensor) -> float:
    if name not in ("rms", "raw"):
        raise RecipeError(f"there is no unit {name!r}", "noise_unit", nearest_names(name, ("rms", "raw")))
    return float(codebook.detach().float().square().mean().sqrt()) if name == "rms" else 1.0


def _crop(
    name: str,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    view: tuple[int, int] | None,
) -> Crop:
    if name == "rrc":
        return ResizedCrop(size, scale, ratio)
    if name == "random":
        return RandomCrop(size)
    if name == "centre":
        return CentreCrop(size, view or size)
    raise RecipeError(f"there is no crop {name!r}", "crop", nearest_names(name, CROPS))
