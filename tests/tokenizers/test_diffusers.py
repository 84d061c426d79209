"""diffusers' VQModel as a second reference for the distance family, and as a family that opens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import by_rule
import published_layouts
import pytest
import torch
from golden_files import golden

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers import Tokenizer
from seit.tokenizers.checkpoints import build
from seit.tokenizers.layouts import layout_of

diffusers = pytest.importorskip("diffusers")

RENAMED = (
    (".mid.block_1.", ".mid_block.resnets.0."),
    (".mid.attn_1.", ".mid_block.attentions.0."),
    (".mid.block_2.", ".mid_block.resnets.1."),
    (".block.", ".resnets."),
    (".attn.", ".attentions."),
    (".downsample.", ".downsamplers.0."),
    (".upsample.", ".upsamplers.0."),
    (".nin_shortcut.", ".conv_shortcut."),
    (".norm_out.", ".conv_norm_out."),
)
ATTENTION = (
    (".norm.", ".group_norm."),
    (".q.", ".to_q."),
    (".k.", ".to_k."),
    (".v.", ".to_v."),
    (".proj_out.", ".to_out.0."),
)


def reference(file: dict[str, Any], state: dict[str, torch.Tensor]) -> Any:
    """Builds diffusers' model around a taming state dict, by the fact sheet's table."""
    config, inner = file["config"], file["config"]["ddconfig"]
    levels = len(inner["ch_mult"])
    here = [inner["resolution"] // 2**level in inner["attn_resolutions"] for level in range(levels)]
    with torch.device("meta"):
        model = diffusers.VQModel(
            block_out_channels=[inner["ch"] * m for m in inner["ch_mult"]],
            layers_per_block=inner["num_res_blocks"],
            latent_channels=inner["z_channels"],
            vq_embed_dim=config["embed_dim"],
            num_vq_embeddings=config["n_embed"],
            norm_num_groups=32,
            down_block_types=["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in here],
            up_block_types=["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(here)],
            mid_block_add_attention=inner.get("attn_type") != "none",
            sample_size=inner["resolution"],
        )
    renamed = {}
    for key, value in state.items():
        new = key
        if ".down." in new or ".up." in new:
            part, side, level, rest = new.split(".", 3)
            number = int(level) if side == "down" else levels - 1 - int(level)
            new = f"{part}.{side}_blocks.{number}.{rest}"
        for old, name in RENAMED:
            new = new.replace(old, name)
        if ".attentions." in new:
            for old, name in ATTENTION:
                new = new.replace(old, name)
            value = value.flatten(1) if value.ndim == 4 else value
        renamed[new] = value
    model.load_state_dict(renamed, assign=True)
    return model.requires_grad_(False).eval()


def check(model: Any, tokenizer: Tokenizer, image: torch.Tensor) -> None:
    with torch.inference_mode():
        z = model.encode(image * 2 - 1).latents
        _, _, (_, _, ids) = model.quantize(z)
        found = tokenizer.encode(image)
        decoded = model.decode(tokenizer.lookup(found), force_not_quantize=True).sample
        ours = tokenizer.decode_vectors(tokenizer.lookup(found)) * 2 - 1
        assert torch.allclose(tokenizer.features(image), z, atol=1e-4)
    assert torch.equal(found.flatten(), ids.flatten())
    assert torch.allclose(ours, decoded, atol=1e-4)


@pytest.mark.parametrize("name", ["toy-taming", "toy-taming-attn-mid-level", "toy-ldm", "toy-ldm-noattn"])
def test_our_vqgan_and_diffusers_agree_on_other_images_than_the_golden_ones(name: str, tmp_path: Path) -> None:
    file, path = by_rule.original_file(name, tmp_path)
    model = reference(file, by_rule.weights(name)[1])
    check(model, tokenizers.load(path), by_rule.image("another", 3, 64, 48))


L2 = (
    "taming-imagenet-f16-1024",
    "taming-imagenet-f16-16384",
    "ldm-vq-f4",
    "ldm-vq-f4-noattn",
    "ldm-vq-f8",
    "ldm-vq-f8-n256",
    "ldm-vq-f16",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", L2)
def test_a_published_size_agrees_with_diffusers_on_a_picture_of_odd_sides(name: str) -> None:
    file = golden(name)
    draw, state = torch.Generator().manual_seed(1), {}
    for key, shape in published_layouts.shapes(file["config"]).items():
        spread = 1.0 if key == "quantize.embedding.weight" else math.prod(shape[1:]) ** -0.5 if shape[1:] else 0.1
        norm = float(len(shape) == 1 and not key.endswith("bias"))
        state[key] = norm + spread * torch.randn(shape, generator=draw)
    ours = build(layout_of(state, {}, Path(name)), state, Path(name))
    check(reference(file, state), ours, by_rule.image("odd", 1, 67, 50))


def test_a_folder_of_diffusers_opens_and_saves_as_ours(tmp_path: Path) -> None:
    file, state = by_rule.weights("toy-taming")
    model = reference(file, state)
    model.save_pretrained(tmp_path / "vq")
    tokenizer = tokenizers.load(tmp_path / "vq")
    assert (tokenizer.patch, tokenizer.vocabulary) == (4, 64)
    check(model, tokenizer, by_rule.image("another", 4, 32, 32))
    for kept in (tokenizer, tokenizer.keep(torch.tensor([5, 1, 63]))):
        tokenizers.save(kept, tmp_path / "a.safetensors", {})
        assert tokenizers.load(tmp_path / "a.safetensors").identity() == kept.identity()


def test_a_folder_that_diffusers_cannot_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(TokenizerError, match="VQModel"):
        tokenizers.load(tmp_path)
