"""The classifier: stem adapter + trunk + head, and the table that turns ids into its vectors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from seit import files
from seit.augment.normalise import NORMALISATIONS, Colours, Normalise
from seit.augment.resize import centre_crop
from seit.errors import ModelError, nearest_names
from seit.models.stems import Stem, stem_of
from seit.models.trunks import build_trunk, has_token

WEIGHTS, CONFIG = "model.safetensors", "config.json"
POOLS = ("auto", "mean", "token")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that rebuilds a classifier without its weights; JSON-able.

    Attributes:
        trunk: timm name, or one of `trunks.SMALL_RESNETS`.
        stem: one of `stems.STEMS`, or `patch<k>` for pixels.
        channels: d, the width of a vector; 3 for pixels.
        grid: (h, w) of the data set's ids; the image's pixels for a pixel stem.
        classes: outputs of the head.
        input_grid: (m, m) that the stem takes.
        view_grid: the centre region of the grid that is seen at evaluation, in cells (pixels).
        codes: K, rows of the table; 0 for pixels.
        learned: the table is trained with the rest, not the tokenizer's codebook.
        drop_path: stochastic depth of the last block.
        pool: what a ViT classifies from, "mean" (of its cells) or "token" (the class token).
        mean, std: of pixels in [0, 1], for a pixel stem (see `Normalise`).
    """

    trunk: str
    stem: str
    channels: int
    grid: tuple[int, int]
    classes: int
    input_grid: tuple[int, int]
    view_grid: tuple[int, int]
    codes: int = 0
    learned: bool = False
    drop_path: float = 0.0
    pool: str = "mean"
    mean: Colours = NORMALISATIONS["half"][0]
    std: Colours = NORMALISATIONS["half"][1]


class Classifier(nn.Module, PyTorchModelHubMixin, library_name="seit", tags=["seit"]):
    """Maps vectors [B, d, m, m] to logits [B, C] (paper, Fig. 3, from the Stem-Adapter on).

    Attributes:
        config: what it was built from.
        trunk: the timm network, its stem replaced; usable as a timm model by itself.
        table: [K, d] float32, the codebook or the learned table; None for pixels.
        normalise: the scale of the pixels that the trunk sees; None for ids.

    Example:
        >>> model = build("deit_small_patch16_224", codebook=codebook, classes=1000)
        >>> model(torch.zeros(2, 32, 28, 28)).shape
        torch.Size([2, 1000])
    """

    table: Tensor | None
    trunk: Any

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        stem = stem_of(config.stem)
        rows, columns = (stem.output_side(side) for side in config.input_grid)
        self.trunk = build_trunk(
            config.trunk, stem, config.channels, (rows, columns), config.classes, config.drop_path, config.pool
        )
        self.normalise = Normalise(config.mean, config.std) if stem.pixels else None
        table = torch.zeros(config.codes, config.channels) if config.codes else None
        if config.learned and table is not None:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table)

    @property
    def input_grid(self) -> tuple[int, int]:
        """(m, m), the cells (pixels) a side of what `forward` takes; what augmentations resize to."""
        return self.config.input_grid

    @property
    def view_grid(self) -> tuple[int, int]:
        """The centre region of the data set's grid that is seen at evaluation, in cells (pixels)."""
        return self.config.view_grid

    def forward(self, vectors: Tensor) -> Tensor:
        """Maps vectors [B, d, m, m] to logits [B, C].

        Raises:
            ModelError: vectors of another width or side than the stem's.
        """
        wanted = (self.config.channels, *self.config.input_grid)
        if tuple(vectors.shape[1:]) != wanted:
            raise ModelError(
                f"vectors of shape {list(vectors.shape)} where [B, {', '.join(map(str, wanted))}] is needed",
                f"{self.config.trunk} with stem {self.config.stem}",
                "crop to input_grid, and look up ids in this classifier's table",
            )
        return self.trunk(vectors)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Returns the evaluation input of rows: looked up or normalised, centre-cropped, on this device.

        Args:
            inputs: ids [B, h, w], any integer type; or for a pixel stem images [B, 3, H, W], uint8 or floats in
                [0, 1], which may require gradients.

        Returns:
            [B, d, m, m] float32.
        """
        inputs = inputs.to(next(self.parameters()).device)
        if self.normalise is not None:
            return self.prepare_vectors(self.normalise(inputs))
        return centre_crop(inputs, self.table, self.input_grid, self.view_grid)

    def prepare_vectors(self, vectors: Tensor) -> Tensor:
        """Returns the evaluation input of vectors that stand for ids, e.g. a tokenizer's `straight_through`.

        Gradients pass.

        Args:
            vectors: [B, d, h, w] of the whole grid, in the space of this classifier's table.

        Returns:
            [B, d, m, m] float32.
        """
        device = next(self.parameters()).device
        return centre_crop(vectors.to(device), None, self.input_grid, self.view_grid)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that timm's optimizers leave out of weight decay."""
        inner = self.trunk.no_weight_decay() if hasattr(self.trunk, "no_weight_decay") else set()
        return {f"trunk.{name}" for name in inner} | {"table"}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's parameter groups for layer decay; the table goes with the stem."""
        groups = self.trunk.group_matcher(coarse=coarse)

        def inside(pattern: Any) -> Any:
            if isinstance(pattern, str):
                return rf"^trunk\.(?:{pattern.replace('^', '')})"
            if isinstance(pattern, list):
                return [inside(one) for one in pattern]
            return (inside(pattern[0]), *pattern[1:]) if isinstance(pattern, tuple) else pattern

        matched = {name: inside(pattern) for name, pattern in groups.items()}
        return matched | {"stem": f"{matched['stem']}|^table"}

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        files.write_bytes(save_directory / WEIGHTS, save(weights))
        files.write_json(save_directory / CONFIG, asdict(self.config))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = True,
        **model_kwargs: Any,
    ) -> Classifier:
        folder = Path(model_id)
        if folder.is_dir():
            weights = folder / WEIGHTS
            if not weights.is_file():
                raise ModelError(
                    f"there is no {WEIGHTS}", str(folder), "give the folder that save_pretrained wrote"
                )
        else:
            weights = Path(
                hf_hub_download(
                    repo_id=model_id,
                    filename=WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    token=token,
                    local_files_only=local_files_only,
                )
            )
        described = model_kwargs.get("config")
        if described is None:
            raise ModelError(f"there is no {CONFIG}", model_id, "give the folder that save_pretrained wrote")
        model = cls(described if isinstance(described, ModelConfig) else config_from(described))
        try:
            model.load_state_dict(load_file(weights, device=map_location), strict=strict)
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"the weights are damaged or not of the model in {CONFIG}", str(weights), "copy the folder again"
            ) from error
        return model.eval()


def config_from(described: dict[str, Any]) -> ModelConfig:
    """Returns the configuration that a JSON file describes."""
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    if "view_grid" not in known:  # of versions that worked it out
        known["view_grid"] = _view(stem_of(known["stem"]), known["grid"], known["input_grid"])
    return ModelConfig(**known)


def _view(stem: Stem, grid: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Returns the region of the grid that an input of `size` shows: the stem's own unless that has another size."""
    own = stem.view_side(grid[0]), stem.view_side(grid[1])
    return own if tuple(side // stem.shrink for side in own) == tuple(size) else size


def build(
    trunk: str,
    stem: str = "conv4",
    channels: int = 32,
    grid: tuple[int, int] = (32, 32),
    classes: int = 1000,
    *,
    codebook: Tensor | None = None,
    learned: bool = False,
    input_grid: tuple[int, int] | None = None,
    drop_path: float = 0.0,
    pool: str = "auto",
    normalise: str = "half",
) -> Classifier:
    """Builds a classifier with fresh weights (of PyTorch's global random state).

    Args:
        trunk: a timm name of the ViT/DeiT, ResNet, ConvNeXt or Swin family, or `mini_resnet`,
            `mini_resnet_wide`, `reduced_resnet18`.
        stem: see `stems.STEMS`; `patch<k>` or `native` for RGB pixels.
        channels: d, the width of the vectors the stem takes; 3 for pixels.
        grid: (h, w) of the data set's ids, or the image's (H, W) for a pixel stem.
        classes: outputs.
        codebook: [K, d'] of the data set; None for pixels. Without `learned`, d' is `channels`.
        learned: train the table too. It starts from the codebook, through a random projection where d' is not
            `channels` (then with entries of about unit size).
        input_grid: (m, m) where it shall not be the stem's own choice (7/8 of the grid).
        drop_path: stochastic depth of the last block.
        pool: what a ViT classifies from: "mean" of its cells, as the paper does on ids (section 4.5); "token", its
            class token, as DeiT does; "auto", the mean for ids and the token for pixels.
        normalise: the scale of pixels, a name of `seit.augment.normalise.NORMALISATIONS`.

    Returns:
        The classifier: vectors [B, channels, m, m] -> logits [B, classes].

    Raises:
        ModelError: unknown trunk, stem, pool or scale, a grid that the trunk cannot take, m > n, or a codebook of
            another width.
    """
    chosen = stem_of(stem)
    _check_names(pool, normalise)
    size = input_grid or (chosen.input_side(grid[0]), chosen.input_side(grid[1]))
    _check_stem(stem, channels, codebook, learned)
    _check_sizes(stem, grid, size)
    if classes < 1:
        raise ModelError(f"{classes} classes", "classes", "give at least one")
    mean, std = NORMALISATIONS[normalise]
    config = ModelConfig(
        trunk=trunk,
        stem=stem,
        channels=channels,
        grid=(int(grid[0]), int(grid[1])),
        classes=classes,
        input_grid=(int(size[0]), int(size[1])),
        view_grid=_view(chosen, grid, size),
        codes=0 if codebook is None else codebook.shape[0],
        learned=learned and codebook is not None,
        drop_path=drop_path,
        pool=pool if pool != "auto" else "token" if chosen.pixels and has_token(trunk) else "mean",
        mean=mean,
        std=std,
    )
    model = Classifier(config)
    if codebook is not None and model.table is not None:
        with torch.no_grad():
            model.table.copy_(_first_table(codebook.float(), channels))
    return model


def _check_names(pool: str, normalise: str) -> None:
    if pool not in POOLS:
        raise ModelError(f"there is no pool {pool!r}", "pool", nearest_names(pool, POOLS))
    if normalise not in NORMALISATIONS:
        raise ModelError(
            f"there is no scale {normalise!r} of pixels", "normalise", nearest_names(normalise, NORMALISATIONS)
        )


def _check_stem(name: str, channels: int, codebook: Tensor | None, learned: bool) -> None:
    if stem_of(name).pixels and (channels != 3 or codebook is not None):
        tokens = f"{channels} channels" + ("" if codebook is None else " with a codebook")
        raise ModelError(
            f"stem {name} takes RGB pixels, not {tokens}",
            "stem",
            "for tokens choose conv4, conv2, conv2s1, conv3, linear or deconv",
        )
    if codebook is not None and codebook.shape[1] != channels and not learned:
        raise ModelError(
            f"the codebook's vectors have {codebook.shape[1]} entries, the stem takes {channels}",
            f"stem {name}",
            f"set channels to {codebook.shape[1]}, or learn the table",
        )


def _check_sizes(name: str, grid: tuple[int, int], size: tuple[int, int]) -> None:
    if any(m > n or m < 1 for m, n in zip(size, grid, strict=True)):
        raise ModelError(
            f"an input of {size[0]}x{size[1]} from a grid of {grid[0]}x{grid[1]}",
            f"stem {name}",
            "choose an input_grid of at least 1 and at most the grid",
        )
    if min(stem_of(name).output_side(side) for side in size) < 1:
        raise ModelError(
            f"its input of {size[0]}x{size[1]} is smaller than its kernel", f"stem {name}", "choose conv3"
        )


def _first_table(codebook: Tensor, channels: int) -> Tensor:
    if codebook.shape[1] == channels:
        return codebook
    projection = torch.randn(codebook.shape[1], channels) / codebook.shape[1] ** 0.5
    return codebook / codebook.square().mean().sqrt() @ projection
