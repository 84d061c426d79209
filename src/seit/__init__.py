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

from seit.errors import SeitError, missing_package

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:  # for type checkers and editors; a test holds it equal to _HOMES
    from seit.models.pipeline import load as load
    from seit.store import TokenDataset as TokenDataset
    from seit.verbs.combine import append as append
    from seit.verbs.combine import merge as merge
    from seit.verbs.combine import subset as subset
    from seit.verbs.convert import convert as convert
    from seit.verbs.demo import demo as demo
    from seit.verbs.edit import edit as edit
    from seit.verbs.eval import eval as eval
    from seit.verbs.info import info as info
    from seit.verbs.predict import predict as predict
    from seit.verbs.push import push as push
    from seit.verbs.runs import runs as runs
    from seit.verbs.show import show as show
    from seit.verbs.tokenize import tokenize as tokenize
    from seit.verbs.train import train as train
    from seit.verbs.verify import repair as repair
    from seit.verbs.verify import verify as verify

# Loaded when first used: reading a token data set must not import torch, or need it.
_HOMES = {
    "TokenDataset": "seit.store",
    "append": "seit.verbs.combine",
    "convert": "seit.verbs.convert",
    "demo": "seit.verbs.demo",
    "edit": "seit.verbs.edit",
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

__all__ = ["SeitError", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seit' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise missing_package(error) from None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
