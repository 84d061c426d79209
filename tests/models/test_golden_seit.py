import argparse

import pytest
import torch
from golden_files import golden, layout_digest
from golden_rule import close, codebook, tokens, vit_state

from seit.augment.resize import crop_resize, lookup, resize
from seit.errors import ModelError
from seit.models import load_published


@pytest.mark.parametrize(
    "name",
    [
        "deit_small_token_4",
        pytest.param("deit_small_token_32", marks=pytest.mark.slow),
        pytest.param("deit_base_token_32", marks=pytest.mark.slow),
    ],
)
def test_published_vits_load_and_give_the_published_logits(name: str, tmp_path) -> None:
    case = next(case for case in golden("seit-model")["vit"] if case["model"] == name)
    state = vit_state(768 if "base" in name else 384, case["code_dim"])
    torch.save({"model": state, "epoch": 3, "args": argparse.Namespace(lr=1.0)}, tmp_path / "best_checkpoint.pth")
    table = codebook(case["vocabulary"], case["code_dim"])
    model = load_published(tmp_path / "best_checkpoint.pth", table)
    with torch.no_grad():
        vectors = model.prepare(tokens(2, case["vocabulary"]))
        stem = model.trunk.patch_embed(vectors)
        logits = model(vectors)
    assert list(vectors.shape) == case["input_shape"]
    assert close(float(vectors.mean()), case["input"]["mean"])
    assert list(stem.shape) == case["stem_shape"]
    for (patch, channel), expected in case["stem"]["samples"]:
        assert close(float(stem[0, patch, channel]), expected)
    for row, expected in zip(logits, case["logits"], strict=True):
        assert int(row.argmax()) == expected["argmax"]
        assert close(float(row.mean()), expected["mean"])
        assert close(float(row.std(correction=0)), expected["std"])
        for found, sample in zip(row[::125].tolist(), expected["samples"], strict=True):
            assert abs(found - sample) < 1e-5 * max(1, abs(sample))


def test_a_whole_training_checkpoint_gives_its_weights_or_their_average(tmp_path) -> None:
    state = vit_state(384, 4)
    average = {key: value + 0.5 for key, value in state.items()}
    layer = torch.nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    whole = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"t_initial": 300, "lr_min": 1e-5, "base_values": [7.5e-4], "noise_range_t": None},
        "epoch": 7,
        "model_ema": average,
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
        "args": argparse.Namespace(lr=7.5e-4, output_dir="out", distributed=True),
    }
    torch.save(whole, tmp_path / "checkpoint.pth")
    for ema, wanted in ((False, state), (True, average)):
        found = load_published(tmp_path / "checkpoint.pth", ema=ema).trunk.state_dict()
        assert torch.equal(found["blocks.3.mlp.fc1.weight"], wanted["blocks.3.mlp.fc1.weight"])
        assert torch.equal(found["fc_norm.bias"], wanted["norm.bias"])
    with pytest.raises(ModelError, match="holds no running average of the weights; leave out ema"):
        load_published({"model": state}, ema=True)


def test_the_rule_makes_the_published_key_layout() -> None:
    state = vit_state(384, 32)
    assert layout_digest({key: value.shape for key, value in state.items()}) == "401d83d5ac8e9b70"
    assert len(state) == 152
    assert sum(value.numel() for value in state.values()) == 21952360


def test_rrc_gives_the_official_crops() -> None:
    ids, table = tokens(1, 391), codebook(391, 32)
    for case in golden("seit-model")["rrc"]:
        box = torch.tensor([case["box_top_left_height_width"]])
        for out in (resize(lookup(ids, table), box, (28, 28))[0], crop_resize(ids, table, box, (28, 28))[0]):
            assert close(float(out.mean()), case["tensor"]["mean"])
            assert close(float(out.std(correction=0)), case["tensor"]["std"])
            for (channel, row, column), expected in case["tensor"]["samples"]:
                assert close(float(out[channel, row, column]), expected)


def test_weights_that_are_no_seit_vit_are_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="no such file; give the published checkpoint's path"):
        load_published(tmp_path / "none.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>")
    with pytest.raises(ModelError, match=r"page\.ckpt: it is damaged or holds more than tensors.*download it"):
        load_published(tmp_path / "page.ckpt")
    with pytest.raises(ModelError, match="weights: no SeiT ViT"):
        load_published({"model": {"fc.weight": torch.zeros(2)}})
    state = vit_state(384, 4)
    del state["blocks.3.norm1.bias"]
    with pytest.raises(ModelError, match=r"1 lack: trunk\.blocks\.3\.norm1\.bias"):
        load_published(state)
