"""Saving, loading and naming tokenizers; what their identity covers; another package's family; converting."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import by_rule
import colours as example
import pytest
import torch
from colours import colours
from PIL import Image as Pillow
from safetensors import safe_open

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.vit_vqgan import ViTVQGAN
from seit.tokenizers.vqgan import SEARCHES, VQGAN
from seit.verbs.convert_tokenizer import convert_tokenizer
from seit.verbs.tokenize import tokenize

VIEW = {"size": 64, "resize": "squash", "interpolation": "bicubic"}
KINDS = ("conv", "vit", *SEARCHES)


def tiny(kind: str) -> tokenizers.Tokenizer:
    """Returns a small random tokenizer of a family, or of a VQGAN's search."""
    torch.manual_seed(0)
    if kind == "conv":
        return ConvTokenizer(4, 24, 6, (8, 8), (1, 1), preprocessing=VIEW, name="tiny")
    if kind == "vit":
        return ViTVQGAN((64, 64), 8, (64, 1, 1, 64), (64, 1, 1, 64), 6, 24, name="tiny")
    tokenizer = VQGAN(32, (32, 32), 1, (1,), True, 6, 6, 24, kind, name="tiny")
    tokenizer.codebook.normal_()
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_is_exactly_what_was_saved(kind: str, tmp_path: Path) -> None:
    tokenizer = tiny(kind)
    tokenizers.save(tokenizer, tmp_path / "tiny.safetensors", {"command": "made by a test"})
    again = tokenizers.load(tmp_path / "tiny.safetensors")
    assert again.identity() == tokenizer.identity()
    assert (again.name, again.preprocessing, again.config()) == (
        "tiny",
        tokenizer.preprocessing,
        tokenizer.config(),
    )
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.encode(images), tokenizer.encode(images))
    assert tokenizers.card(tmp_path / "tiny.safetensors") == {"command": "made by a test"}
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_weights_that_float16_holds_exactly_are_stored_in_it(tmp_path: Path) -> None:
    tokenizer = tiny("conv").half().float()
    tokenizers.save(tokenizer, tmp_path / "a.safetensors", {})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert tokenizers.load(tmp_path / "a.safetensors").identity() == tokenizer.identity()


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_changes_with_weights_preprocessing_and_codes(kind: str) -> None:
    same, weights, view, codes, kept = (tiny(kind) for _ in range(5))
    first = same.identity()
    assert first == tiny(kind).identity()
    next(weights.parameters()).data.flatten()[0] += 1e-3
    view.preprocessing = {**view.preprocessing, "resize": "crop"}
    codes.codebook = codes.codebook.flip(0)
    kept.keep(torch.arange(10))
    assert len({first, *(other.identity() for other in (weights, view, codes, kept))}) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_keep_searches_within_the_kept_codes(kind: str) -> None:
    tokenizer, images = tiny(kind), torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        full = tokenizer.encode(images)
        used = full.unique()
        # Every feature's best code is kept, so the pictures stay what they are.
        decoded = tokenizer.decode(full)
        assert tokenizer.keep(used) is tokenizer
        assert tokenizer.vocabulary == len(used)
        assert torch.equal(used[tokenizer.encode(images)], full)
        assert torch.equal(tokenizer.decode(tokenizer.encode(images)), decoded)
        few = tokenizer.keep(torch.tensor([0])).encode(images)
        assert (few == 0).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "conv"])
def test_a_reduced_tokenizer_can_be_saved(kind: str, tmp_path: Path) -> None:
    tokenizer = tiny(kind).keep(torch.tensor([3, 1, 20]))
    tokenizers.save(tokenizer, tmp_path / "a.safetensors", {})
    assert tokenizers.load(tmp_path / "a.safetensors").identity() == tokenizer.identity()


def test_a_vit_refuses_another_size_and_a_vqgan_rounds_it_down() -> None:
    with pytest.raises(TokenizerError, match="64x64"):
        tiny("vit").encode(torch.rand(1, 3, 64, 72))
    assert tiny("euclidean").encode(torch.rand(1, 3, 67, 50)).shape == (1, 33, 25)


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(TokenizerError, match=r"'pach8'.*known"):
        tokenizers.load("pach8")
    with pytest.raises(TokenizerError, match="there is no tokenizer"):
        tokenizers.load("somewhere/missing.safetensors")


@pytest.mark.parametrize("damage", ["cut", "header", "family", "codes"])
def test_a_damaged_file_of_ours_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    tokenizers.save(tiny("conv"), path, {})
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-100],
            "header": data[:20] + b"\xff" + data[21:],
            "family": data.replace(b'\\"family\\": \\"conv\\"', b'\\"family\\": \\"vonc\\"'),
            "codes": data.replace(b'\\"codes\\": 24', b'\\"codes\\": 25'),
        }[damage]
    )
    with pytest.raises(TokenizerError, match=r"tiny\.safetensors"):
        tokenizers.load(path)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pip install a wheel of the documentation's example, the entry point as that page has it."""
    site = tmp_path / "site"
    wheel, about = tmp_path / "colours-1.0-py3-none-any.whl", "colours-1.0.dist-info"
    points = {
        name: value for _, group in tomllib.loads(example.ENTRY)["project"].items() for name, value in group.items()
    }
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in found.items()) for group, found in points.items()]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("colours.py", example.SOURCE)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", "".join(lines))
        archive.writestr(f"{about}/RECORD", "")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "colours")


@pytest.mark.usefixtures("installed")
def test_the_documentations_tokenizer_is_found_by_its_entry_point(tmp_path: Path) -> None:
    assert len(example.SOURCE.splitlines()) <= 31
    tokenizer = tokenizers.load("colours")
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    assert tokenizer.encode(image).shape == (1, 4, 4)
    flat = torch.full((1, 3, 4, 4), 0.1)
    assert (tokenizer.decode(tokenizer.encode(flat)) - flat).abs().max() <= 1 / 32
    tokenizers.save(tokenizer, tmp_path / "c.safetensors", {})
    assert tokenizers.load(tmp_path / "c.safetensors").identity() == tokenizer.identity()
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Pillow.new("RGB", (64, 64), (40 * number, 100, 200)).save(tmp_path / "pictures" / f"{number}.png")
    said = tokenize(tmp_path / "pictures", tmp_path / "x.tokens", tokenizer="colours", device="cpu", workers=0)
    assert (said["images"], said["grid"], said["tokenizer"]["name"]) == (3, [32, 32], "colours")


def test_a_family_that_no_package_has_says_so(tmp_path: Path) -> None:
    tokenizers.save(colours(), tmp_path / "c.safetensors", {})
    with pytest.raises(TokenizerError, match="'colours', which no installed package has"):
        tokenizers.load(tmp_path / "c.safetensors")


def test_a_converted_checkpoint_keeps_every_bit(tmp_path: Path) -> None:
    _, path = by_rule.original_file("toy-vitvq", tmp_path)
    original = tokenizers.load(path)
    said = convert_tokenizer(path, tmp_path / "mine", license="mit")
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = tokenizers.load(tmp_path / "mine")
    assert again.identity() == original.identity() == said["identity"]
    assert again.name == "mine"
    config = json.loads((tmp_path / "mine" / "config.json").read_bytes())
    assert (config["family"], config["vocabulary"], config["code_dim"]) == ("vit-vqgan", 64, 16)
    assert tokenizers.card(tmp_path / "mine")["converted_from"] == path.name
    page = (tmp_path / "mine" / "README.md").read_text()
    assert "license: mit" in page
    assert said["identity"] in page
    assert str(tmp_path) not in page  # where a machine keeps things is nobody's business
    with pytest.raises(TokenizerError, match="exists already"):
        convert_tokenizer(path, tmp_path / "mine")
