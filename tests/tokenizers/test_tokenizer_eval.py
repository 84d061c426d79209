"""`seit tokenizer eval` against a rewrite of its measures, on squares, rectangles and small pictures; and rFID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from colours import colours
from PIL import Image as Pillow
from skimage.metrics import peak_signal_noise_ratio
from test_load import tiny

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers.vit_vqgan import ViTVQGAN
from seit.verbs.eval_tokenizer import eval_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten smooth pictures of 70 x 90 pixels; the second and the seventh by name are held out (every fifth)."""
    path, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(10):
        small = Pillow.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((90, 70), Pillow.Resampling.BICUBIC).save(path / f"{number}.png")
    return path


def saved(tokenizer: tokenizers.Tokenizer, folder: Path) -> str:
    path = folder / "x.safetensors"
    tokenizers.save(tokenizer, path, {})
    return str(path)


def test_the_measures_are_those_of_a_rewrite(folder: Path, tmp_path: Path) -> None:
    name = saved(tiny("conv"), tmp_path)
    found = eval_tokenizer(name, folder, sheet=tmp_path / "sheet.png")
    tokenizer = tokenizers.load(name)
    scores, ids = [], []
    for number in (4, 9):
        view = np.asarray(Pillow.open(folder / f"{number}.png").resize((64, 64), Pillow.Resampling.BICUBIC))
        images = torch.from_numpy(view.copy()).permute(2, 0, 1)[None].float() / 255
        ids.append(tokenizer.encode(images).flatten())
        decoded = tokenizer.decode_vectors(tokenizer.lookup(tokenizer.encode(images))).clamp(0, 1)
        scores.append(peak_signal_noise_ratio(images.numpy(), decoded.numpy(), data_range=1))
    share = np.bincount(torch.cat(ids).numpy()) / 512
    share = share[share > 0]
    assert found["images"] == 2
    assert found["psnr_db"] == pytest.approx(np.mean(scores), abs=2e-3)
    assert found["codes_used"] == len(share)
    assert found["perplexity"] == pytest.approx(np.prod(share**-share), abs=0.01)
    assert found["entropy_bits"] == pytest.approx(-(share * np.log2(share)).sum(), abs=1e-3)
    assert found["encode_images_per_s"] > 0 < found["decode_images_per_s"]
    with Pillow.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 400


def test_a_rectangular_view_is_measured_as_it_is(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = ViTVQGAN((32, 48), 8, (64, 1, 1, 64), (64, 1, 1, 64), 6, 24, name="wide")
    found = eval_tokenizer(saved(tokenizer, tmp_path), folder, sheet=tmp_path / "s.png")
    assert found["side"] == [32, 48]


def test_a_tokenizer_of_one_size_enlarges_and_others_take_small_pictures_as_they_are(
    folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    fixed = ViTVQGAN((96, 96), 8, (64, 1, 1, 64), (64, 1, 1, 64), 6, 24, name="fixed")
    assert eval_tokenizer(saved(fixed, tmp_path), folder)["side"] == 96
    anysize = tiny("conv")
    anysize.preprocessing = {**anysize.preprocessing, "size": 96}
    assert eval_tokenizer(saved(anysize, tmp_path), folder)["side"] == 68  # 70, in steps of 4


def test_a_grey_domain_is_measured_and_drawn(folder: Path, tmp_path: Path) -> None:
    from test_channels import tiny as of_channels

    for channels in (1, 4):
        name = saved(of_channels("conv", channels), tmp_path)
        assert eval_tokenizer(name, folder, sheet=tmp_path / "s.png")["images"] == 2


def test_rfid_without_its_weights_is_one_clear_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(TokenizerError) as caught:
        eval_tokenizer(saved(tiny("conv"), tmp_path), folder, rfid=True)
    said = str(caught.value)
    assert said.startswith("--rfid: rFID needs the weights of torch-fidelity's Inception network")
    assert str(tmp_path / "empty") in said
    assert "\n" not in said


def test_rfid_is_the_distance_between_gaussians_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_fidelity = pytest.importorskip("torch_fidelity")
    from seit.tokenizers.frechet import Frechet

    class Means(torch.nn.Module):
        """Stands where the network's weights would be needed: a picture's mean colours."""

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            assert images.dtype == torch.uint8
            return (images.float().mean((2, 3)),)

    monkeypatch.setattr(torch_fidelity.utils, "create_feature_extractor", lambda *_, **__: Means())
    distance, draw = Frechet(colours()), torch.Generator().manual_seed(0)
    one, other = (torch.rand(40, 3, 4, 4, generator=draw) for _ in range(2))
    other = (other * 0.5).round(decimals=3)
    distance.add(one[:15], other[:15])
    distance.add(one[15:], other[15:])
    x, y = ((part * 255).round().mean((2, 3)).double().numpy() for part in (one, other))
    a, b = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b @ root)).sum()
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross
    assert distance.value() == pytest.approx(wanted, rel=1e-4)


def test_rfid_of_four_channels_is_refused() -> None:
    from test_channels import tiny as of_channels

    from seit.tokenizers.frechet import Frechet

    with pytest.raises(TokenizerError, match="4 channels"):
        Frechet(of_channels("conv", 4))
