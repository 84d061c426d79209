"""Views -> ids on a device, in batches of one shape, and what of the device can change an id."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL
import PIL.features
import torch

from seit.device import keep_memory
from seit.errors import SeitError, nearest_names
from seit.store import TokenDataset
from seit.store.codebook import from_ranges, to_ranges
from seit.tokenizers import Tokenizer
from seit.tokenizers.base import exact
from seit.tokenizers.kept import within

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Kept:
    """The codes that ids are kept within, as a manifest records them.

    Attributes:
        codes: ranges of the tokenizer's own codes, "0-254,300".
        way: see `seit.tokenizers.kept.within`.
    """

    codes: str
    way: str

    @classmethod
    def of(cls, dataset: TokenDataset, way: str) -> Kept:
        """Returns the codes that a data set uses."""
        return cls(to_ranges(dataset.used_codes), way)

    @classmethod
    def recorded(cls, tokenizer: dict[str, Any]) -> Kept | None:
        """Returns what a manifest's `tokenizer` records, if that data set was kept within another's codes."""
        return cls(**tokenizer["within"]) if "within" in tokenizer else None


class Encoder:
    """A tokenizer at work.

    Args:
        tokenizer: on its device, frozen.
        precision: of the network before the code search, "float32" or "bfloat16"; the search is always float32.
        compiled: let torch compile the network for the one shape of the batches.
        kept: the codes to keep within; None searches among all.

    Raises:
        SeitError: unknown precision, or codes or a way that there are not.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        precision: str = "float32",
        compiled: bool = False,
        kept: Kept | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise SeitError(
                f"there is no precision {precision!r}", "--precision", nearest_names(precision, PRECISIONS)
            )
        self.tokenizer, self.precision, self.compiled, self.kept = tokenizer, precision, compiled, kept
        keep_memory()
        # The search stays as it is: compiled, it would be one block over all cells and codes.
        self._features = torch.compile(tokenizer.features, dynamic=False) if compiled else tokenizer.features
        self._search: Callable[[torch.Tensor], torch.Tensor] = tokenizer.search
        if kept is not None:
            codes = torch.from_numpy(from_ranges(kept.codes, tokenizer.vocabulary)).long()
            self._search = within(tokenizer, codes, kept.way)

    @torch.inference_mode()
    def start(self, views: np.ndarray) -> torch.Tensor:
        """Copies uint8 views [n, H, W, C] to the device and starts to encode them; returns ids [n, h, w] on it.

        A GPU may still be at work when this returns; `.cpu()` waits for it.
        """
        device = self.tokenizer.codebook.device
        pixels = torch.from_numpy(views).to(device)
        images = pixels.permute(0, 3, 1, 2).float().div_(255)  # channels-last in memory, as convolutions like it
        with exact(device), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self._search(self._features(images))

    def ids(self, views: np.ndarray) -> np.ndarray:
        """Returns the ids [n, h, w] of uint8 views [n, H, W, C]."""
        return self.start(views).cpu().numpy()

    def provenance(self) -> dict[str, str]:
        """Returns everything that is known to change an id and is no part of the plan."""
        device = self.tokenizer.codebook.device
        jpeg = PIL.features.version("libjpeg_turbo") or PIL.features.version("jpg")
        found = self.tokenizer.provenance() | {
            "precision": self.precision,
            "compiled": str(self.compiled).lower(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "pillow": f"{PIL.__version__}, jpeg {jpeg}",
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        if device.type == "cuda":
            found["device"] = torch.cuda.get_device_name(device)
            found["cuda"] = f"{torch.version.cuda}, cudnn {torch.backends.cudnn.version()}"
        return found


def settings(encoder: Encoder) -> dict[str, Any]:
    """Returns what a plan has to know of an encoder."""
    known = {"identity": encoder.tokenizer.identity(), "precision": encoder.precision, "compiled": encoder.compiled}
    return known | ({"within": asdict(encoder.kept)} if encoder.kept else {})
