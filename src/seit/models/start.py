"""Starting a training from another run's weights: tokens -> tokens -> pixels, and other classes (paper, B.4)."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
import xxhash

from seit.errors import RunError
from seit.models.classifier import WEIGHTS, Classifier
from seit.models.pipeline import classifier_of
from seit.models.transfer import transfer
from seit.ranks import rank
from seit.run import Run


def weights_of(run: str | os.PathLike[str]) -> str:
    """Returns a hash of a finished run's weights.

    Raises:
        RunError: no run there, or it is not finished.
    """
    Run(run).finished()
    with open(Run(run).classifier / WEIGHTS, "rb") as file:
        digest = xxhash.xxh3_128()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def start_from(run: str | os.PathLike[str], model: Classifier, about: dict[str, Any]) -> dict[str, list[str]]:
    """Copies a finished run's weights into a fresh model, as far as they mean the same there.

    The head goes along only to the same classes in the same order, a learned table code by code, a stem to a stem
    of the same name. What is new, resampled or dropped is logged by name.

    Args:
        run: the finished run.
        model: of the same trunk; changed in place.
        about: the new run's run.json.

    Returns:
        The names under "kept", "resampled", "new" and "dropped".

    Raises:
        RunError: no finished run, or one on ids of another tokenizer.
        ModelError: another trunk.
    """
    found, source = Run(run).finished(), classifier_of(run)
    codes = None
    if "tokenizer" in found and "tokenizer" in about:
        mine, theirs = about["tokenizer"], found["tokenizer"]
        if mine["identity"] != theirs["identity"]:
            raise RunError(
                f"was trained on ids of {theirs['name']}, the data's are of {mine['name']}",
                os.fspath(run),
                "tokenize the images with the run's tokenizer",
            )
        place = {code: i for i, code in enumerate(found["used_codes"])}
        codes = torch.tensor([place.get(code, -1) for code in about["used_codes"]])
    moved = transfer(source, model, codes=codes, head=found["classes"] == about["classes"])
    if rank() == 0:
        logging.getLogger(__name__).warning("weights of %s: %s", run, moved)
    return {name: list(getattr(moved, name)) for name in ("kept", "resampled", "new", "dropped")}
