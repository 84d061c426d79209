import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, RepoUrl

from seit.errors import ModelError
from seit.models import Classifier, build, transfer

CODEBOOK = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))


def _tokens(classes: int = 10, grid: tuple[int, int] = (16, 16), **more) -> Classifier:
    return build("deit_tiny_patch16_224", "conv4", 8, grid, classes, codebook=CODEBOOK, **more)


def test_tokens_to_pixels_keeps_all_but_the_stem_and_names_it() -> None:
    tokens, pixels = _tokens(), build("deit_tiny_patch16_224", "patch16", 3, (128, 128), 10, pool="mean")
    report = transfer(tokens, pixels)
    stem = ("trunk.patch_embed.proj.weight", "trunk.patch_embed.proj.bias")
    assert set(report.new) == set(stem)
    assert set(report.dropped) == {*stem, "table"}
    assert report.resampled == ()
    assert len(report.kept) == len(pixels.state_dict()) - 2
    assert torch.equal(pixels.trunk.blocks[3].attn.qkv.weight, tokens.trunk.blocks[3].attn.qkv.weight)
    assert torch.equal(pixels.trunk.pos_embed, tokens.trunk.pos_embed)
    assert str(report).endswith("dropped: table, trunk.patch_embed.proj.weight, trunk.patch_embed.proj.bias")


def test_other_classes_drop_the_head_and_other_grids_resample_positions() -> None:
    small, large = _tokens(10), _tokens(7, (32, 32))
    report = transfer(small, large)
    assert set(report.new) == {"trunk.head.weight", "trunk.head.bias", "table"}
    assert report.resampled == ("trunk.pos_embed",)
    assert torch.equal(large.trunk.pos_embed[:, 0], small.trunk.pos_embed[:, 0])  # the class token's own
    grid = small.trunk.pos_embed[0, 1:].view(7, 7, -1).movedim(-1, 0)[None]
    expected = torch.nn.functional.interpolate(grid, (14, 14), mode="bicubic", antialias=True)[0]
    found = large.trunk.pos_embed[0, 1:].view(14, 14, -1).movedim(-1, 0)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(large.trunk.patch_embed.proj.weight, small.trunk.patch_embed.proj.weight)


def test_a_fixed_codebook_stays_the_targets_and_a_learned_table_moves() -> None:
    source, target = _tokens(learned=True), _tokens(learned=True)
    with torch.no_grad():
        source.table.add_(1)
    assert "table" in transfer(source, target).kept
    assert torch.equal(target.table, source.table)
    fixed = _tokens()
    assert "table" in transfer(source, fixed).new
    assert torch.equal(fixed.table, CODEBOOK)


def test_weights_of_another_trunk_are_refused() -> None:
    with pytest.raises(ModelError, match="weights of deit_tiny_patch16_224 do not fit mini_resnet"):
        transfer(_tokens(), build("mini_resnet", "conv3", 8, (16, 16), 10))


@pytest.mark.parametrize("learned", [False, True])
def test_a_saved_classifier_comes_back_with_equal_logits(tmp_path, learned: bool) -> None:
    model = (
        build("mini_resnet", "conv3", 12, (8, 8), 5, codebook=CODEBOOK, learned=True).eval()
        if learned
        else (build("mini_resnet", "conv3", 8, (8, 8), 5, codebook=CODEBOOK).eval())
    )
    model.save_pretrained(tmp_path / "m")
    assert {"config.json", "model.safetensors"} <= {file.name for file in (tmp_path / "m").iterdir()}
    assert json.loads((tmp_path / "m" / "config.json").read_text())["trunk"] == "mini_resnet"
    back = Classifier.from_pretrained(tmp_path / "m")
    ids = torch.randint(0, 30, (3, 8, 8))
    assert back.config == model.config
    assert not back.training
    assert torch.equal(back(back.prepare(ids)), model(model.prepare(ids)))


def test_a_folder_without_weights_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"trunk": "mini_resnet"}))
    with pytest.raises(
        ModelError, match=r"there is no model\.safetensors; give the folder that save_pretrained wrote"
    ):
        Classifier.from_pretrained(tmp_path)


def test_damaged_weights_and_a_missing_configuration_are_refused(tmp_path) -> None:
    build("mini_resnet", "conv3", 8, (8, 8), 5).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"classes": 6}))
    with pytest.raises(ModelError, match=r"model\.safetensors: the weights are damaged or not of the model"):
        Classifier.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match="damaged"):
        Classifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match=r"there is no config\.json; give the folder that save_pretrained wrote"):
        Classifier.from_pretrained(tmp_path)


def test_a_learned_table_starts_from_the_codebook_or_a_projection_of_it() -> None:
    same = build("mini_resnet", "conv3", 8, (8, 8), 5, codebook=CODEBOOK, learned=True)
    assert isinstance(same.table, torch.nn.Parameter)
    assert torch.equal(same.table, CODEBOOK)
    wide = build("mini_resnet", "conv3", 64, (8, 8), 5, codebook=CODEBOOK, learned=True)
    assert wide.table.shape == (30, 64)
    assert torch.linalg.matrix_rank(wide.table.detach()) == 8
    assert 0.5 < float(wide.table.detach().square().mean().sqrt()) < 2


def test_push_to_hub_sends_what_from_pretrained_reads(tmp_path, monkeypatch) -> None:
    sent = {}

    def upload(self, *, repo_id: str, folder_path, **more) -> str:
        sent.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
        return repo_id

    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **more: RepoUrl(f"https://hf.co/{repo_id}"))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    model = build("mini_resnet", "conv3", 8, (8, 8), 5, codebook=CODEBOOK).eval()
    model.push_to_hub("someone/model")
    assert set(sent) == {"model.safetensors", "config.json", "README.md"}
    for name, data in sent.items():
        (tmp_path / name).write_bytes(data)
    ids = torch.randint(0, 30, (3, 8, 8))
    back = Classifier.from_pretrained(tmp_path)
    assert torch.equal(back(back.prepare(ids)), model(model.prepare(ids)))
