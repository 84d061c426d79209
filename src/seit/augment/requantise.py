"""Re-quantisation: augmented vectors become codes again, which the model's table then looks up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seit.augment.base import Lookup
from seit.augment.draws import Draws
from seit.augment.setting import Setting
from seit.tokenizers.search import cosine


@dataclass(frozen=True)
class Requantise(Lookup):
    """Takes each vector's nearest code by angle, and that code's vector in the model's table (SeiT++).

    Crop and what follows then work on the codebook's own vectors, and a learned table meets real codes alone.
    """

    def __call__(self, vectors: Tensor, table: Tensor, draws: Draws, setting: Setting) -> Tensor:
        """Maps vectors [B, d, m, m] to the table's rows of their nearest codes, [B, d', m, m]."""
        with torch.no_grad():
            ids = cosine(vectors, setting.codebook(vectors.device))
        return F.embedding(ids, table).movedim(-1, 1)
