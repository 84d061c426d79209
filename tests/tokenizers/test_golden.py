"""Our tokenizers against the original code's ids, features and pictures, on weights and images made by rule."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import by_rule
import published_layouts
import pytest
import torch
from golden_files import GOLDEN, golden, layout_digest

from seit import tokenizers
from seit.tokenizers import Tokenizer
from seit.tokenizers.checkpoints import build, for_inference
from seit.tokenizers.layouts import layout_of
from seit.tokenizers.vit_vqgan import SIZES, ViTVQGAN, positions

TOLERANCE = 1e-4


def check(file: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Compares every case of a golden file."""
    signed = not tokenizer.family.startswith("vit")  # the originals of the other families decode to [-1, 1]
    for case in file["cases"]:
        image = by_rule.image(file["seedword"], **case["image"])
        with torch.inference_mode():
            features = tokenizer.features(image)
            ids = tokenizer.encode(image)
            wanted = torch.tensor(case["ids"]).view(1, *case["grid"])
            decoded = tokenizer.decode_vectors(tokenizer.lookup(wanted))
        second = {cell: code for cell, _, code, _ in case["margin"]["near_ties"]}
        assert ids.shape == wanted.shape
        for cell in (ids != wanted).flatten().nonzero().flatten().tolist():
            assert ids.flatten()[cell].item() == second.get(cell), f"cell {cell}"
        for place, value in case["features"]["samples"]:
            assert abs(features[0][tuple(place)].item() - value) <= TOLERANCE
        assert abs(features.mean().item() - case["features"]["mean"]) <= TOLERANCE
        assert abs(features.std(correction=0).item() - case["features"]["std"]) <= TOLERANCE
        decoded = decoded * 2 - 1 if signed else decoded
        assert list(decoded.shape) == case["decoded"]["shape"]
        for place, value in case["decoded"]["samples"]:
            assert abs(decoded[0][tuple(place)].item() - value) <= TOLERANCE
        assert abs(decoded.std(correction=0).item() - case["decoded"]["std"]) <= TOLERANCE


def test_the_rule_here_is_the_rule_of_the_golden_files() -> None:
    expected = golden("rule-check")
    seed = expected["seedword"]
    for tensor in expected["weights"]:
        if tensor["key"] in by_rule.TABLES:
            continue
        made = by_rule.weight(seed, tensor["key"], tuple(tensor["shape"]))
        assert hashlib.sha256(made.tobytes()).hexdigest() == tensor["sha256_float32_le"]
    for image in expected["images"]:
        made = by_rule.image(seed, image["index"], image["height"], image["width"]).numpy()
        assert hashlib.sha256(made.tobytes()).hexdigest() == image["sha256_float32_le"]


def test_no_golden_file_is_lost() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {
        *by_rule.TOYS,
        *by_rule.FULL,
        "rule-check",
        "seit-model",
    }
    with pytest.raises(FileNotFoundError):
        golden("toy-lost")


@pytest.mark.parametrize("name", by_rule.TOYS)
def test_a_checkpoint_in_the_original_layout_gives_the_original_codes_ids(name: str, tmp_path: Path) -> None:
    file, path = by_rule.original_file(name, tmp_path)
    check(file, tokenizers.load(path))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", by_rule.FULL)
def test_a_published_size_gives_the_original_codes_ids(name: str, tmp_path: Path) -> None:
    file, path = by_rule.original_file(name, tmp_path, with_config=False)
    check(file, tokenizers.load(path))


TRAINING_ONLY = {
    "loss.perceptual_loss.net.slice1.0.weight": (64, 3, 3, 3),
    "loss.perceptual_loss.lin0.model.1.weight": (1, 64, 1, 1),
    "loss.discriminator.main.0.bias": (64,),
    "quantize.codebook_used": (65536,),
}
"""Of each kind that the published files hold besides."""


@pytest.mark.parametrize("name", by_rule.FULL)
def test_every_published_layout_loads_with_no_key_left_over(name: str) -> None:
    config = golden(name)["config"]
    shapes = published_layouts.shapes(config)
    parameters, _, digest = published_layouts.LAYOUTS[name]
    assert layout_digest(shapes) == digest
    stored = shapes | TRAINING_ONLY
    weights = for_inference({key: torch.empty(shape, device="meta") for key, shape in stored.items()})
    assert weights.keys() == shapes.keys()
    for stated in ({}, {key: value for key, value in config.items() if key != "family"}):
        tokenizer = build(layout_of(weights, stated, Path(name)), weights, Path(name))
        # LlamaGen's counts and ours hold the position tables of the ViTs, which are buffers.
        assert sum(value.numel() for value in tokenizer.state_dict().values()) == parameters


@pytest.mark.parametrize("name", ["toy-vitvq", "toy-vitvq-rect", "vitvq-imagenet-base", "vitvq-imagenet-large"])
def test_positions_are_those_of_the_original_code(name: str) -> None:
    file = golden(name)
    size, patch = file["config"]["image_size"], file["config"]["patch_size"]
    height, width = (size, size) if isinstance(size, int) else size
    for reference in file["position_embedding"].values():
        table = positions(height // patch, width // patch, reference["shape"][2])
        assert list(table.shape) == reference["shape"]
        assert table.double().sum().item() == pytest.approx(reference["sum"], rel=1e-6)
        for (cell, channel), value in reference["samples"]:
            assert table[0, cell, channel].item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_three_sizes_have_the_published_numbers_of_parameters(size: str) -> None:
    with torch.device("meta"):
        tokenizer = ViTVQGAN(**SIZES[size])
    parameters, to_encode, _ = published_layouts.LAYOUTS[f"vitvq-imagenet-{size}"]
    assert sum(value.numel() for value in tokenizer.state_dict().values()) == parameters
    encoding = (tokenizer.encoder, tokenizer.pre_quant)
    counted = sum(value.numel() for part in encoding for value in part.state_dict().values())
    assert counted + tokenizer.codebook.numel() == to_encode
