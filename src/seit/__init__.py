"""seit: train vision models on token data sets of about 1% of the JPEGs' bytes.

The folders stand in the order of the data's path, and imports run one way along it:

    images -> tokenizers (image -> ids) -> codecs (ids <-> bytes) -> store (bytes <-> disk)
    -> loading (batches of ids) -> augment (ids -> augmented vectors) -> models (vectors -> logits)
    -> training -> evaluation -> report; verbs ties them together, cli prints.

The command line's verbs are functions here, under the same names: `seit.tokenize(...)`, `seit.train(...)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seit.errors import SeitError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from seit.models.pipeline import load
    from seit.store import TokenDataset
    from seit.verbs.combine import append, merge, subset
    from seit.verbs.convert import convert
    from seit.verbs.demo import demo
    from seit.verbs.eval import eval
    from seit.verbs.info import info
    from seit.verbs.predict import predict
    from seit.verbs.push import push
    from seit.verbs.runs import runs
    from seit.verbs.show import show
    from seit.verbs.tokenize import tokenize
    from seit.verbs.train import train
    from seit.verbs.verify import repair, verify

# Loaded when first used: reading a token data set must not import torch.
_HOMES = {
    "TokenDataset": "seit.store",
    "append": "seit.verbs.combine",
    "convert": "seit.verbs.convert",
    "demo": "seit.verbs.demo",
    "eval": "seit.verbs.eval",
    "info": "seit.verbs.info",
    "load": "seit.models.pipeline",
    "merge": "seit.verbs.combine",
    "predict": "seit.verbs.predict",
    "push": "seit.verbs.push",
    "repair": "seit.verbs.verify",
    "runs": "seit.verbs.runs",
    "show": "seit.verbs.show",
    "subset": "seit.verbs.combine",
    "tokenize": "seit.verbs.tokenize",
    "train": "seit.verbs.train",
    "verify": "seit.verbs.verify",
}

__all__ = [
    "SeitError",
    "TokenDataset",
    "append",
    "convert",
    "demo",
    "eval",
    "info",
    "load",
    "merge",
    "predict",
    "push",
    "repair",
    "runs",
    "show",
    "subset",
    "tokenize",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
