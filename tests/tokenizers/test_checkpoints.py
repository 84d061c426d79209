"""Opening published files: strictness, training-only keys, configurations, foreign and hostile pickles."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import by_rule
import pytest
import torch
from safetensors.torch import save_file

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers import pickles

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def taming() -> Weights:
    return by_rule.weights("toy-taming")[1]


class Foreign:
    """Something that `weights_only=True` refuses."""

    def __init__(self) -> None:
        self.rate = 0.1


class Evil:
    """Writes a file if its pickle is run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


def saved(path: Path, value: Any, **how: Any) -> Path:
    torch.save(value, path, **how)
    return path


def test_every_missing_key_is_named_by_the_files_own_name(taming: Weights, tmp_path: Path) -> None:
    gone = ("decoder.up.1.block.0.conv1.bias", "post_quant_conv.weight")
    path = saved(tmp_path / "x.ckpt", {"state_dict": {k: v for k, v in taming.items() if k not in gone}})
    with pytest.raises(TokenizerError) as caught:
        tokenizers.load(path)
    assert all(key in str(caught.value) for key in gone)
    assert str(path) in str(caught.value)


def test_a_missing_key_of_llamagen_is_named_in_llamagens_way(tmp_path: Path) -> None:
    state = by_rule.weights("toy-llamagen")[1]
    del state["decoder.conv_blocks.0.attn.1.q.weight"]
    with pytest.raises(TokenizerError, match=r"missing keys: decoder\.conv_blocks\.0\.attn\.1\.q\.weight"):
        tokenizers.load(saved(tmp_path / "x.pt", {"model": state}))


def test_unexpected_keys_and_wrong_shapes_are_named(taming: Weights, tmp_path: Path) -> None:
    extra = taming | {"encoder.surprise": torch.ones(3), "decoder.norm_out.weight": torch.ones(5)}
    with pytest.raises(TokenizerError) as caught:
        tokenizers.load(saved(tmp_path / "x.ckpt", {"state_dict": extra}))
    assert "encoder.surprise" in str(caught.value)
    assert "decoder.norm_out.weight is [5] instead of [32]" in str(caught.value)


def test_a_key_that_tells_a_size_is_named_when_it_is_missing(taming: Weights, tmp_path: Path) -> None:
    state = {key: value for key, value in taming.items() if key != "quantize.embedding.weight"}
    with pytest.raises(TokenizerError, match=r"quantize\.embedding\.weight"):
        tokenizers.load(saved(tmp_path / "x.ckpt", state))


def test_numbers_that_are_not_finite_are_refused(taming: Weights, tmp_path: Path) -> None:
    broken = taming | {"quant_conv.bias": torch.full((8,), torch.nan)}
    with pytest.raises(TokenizerError, match=r"quant_conv\.bias.*finite"):
        tokenizers.load(saved(tmp_path / "x.ckpt", broken))


@pytest.mark.parametrize("container", ["bare", "state_dict", "first stage", "module", "safetensors", "old format"])
def test_every_container_gives_the_same_tokenizer(container: str, taming: Weights, tmp_path: Path) -> None:
    training = taming | {"loss.discriminator.main.0.weight": torch.ones(2, 2), "model_ema.decay": torch.tensor(0.9)}
    path = tmp_path / "x.ckpt"
    if container == "bare":
        saved(path, training)
    elif container == "first stage":
        whole = {f"first_stage_model.{key}": value for key, value in training.items()}
        saved(path, {"state_dict": whole | {"model.diffusion_model.out.weight": torch.ones(3)}})
    elif container == "module":
        saved(path, {"state_dict": {f"module.{key}": value for key, value in taming.items()}})
    elif container == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(training, path)
    else:
        saved(path, {"state_dict": training}, _use_new_zipfile_serialization=container != "old format")
    usual = tokenizers.load(saved(tmp_path / "usual.ckpt", {"state_dict": taming}))
    assert tokenizers.load(path).identity() == usual.identity()


def test_llamagens_moving_average_goes_before_its_model(tmp_path: Path) -> None:
    state = by_rule.weights("toy-llamagen")[1] | {"quantize.codebook_used": torch.zeros(65536)}
    other = state | {"quant_conv.bias": torch.ones(8)}
    tokenizer = tokenizers.load(saved(tmp_path / "x.pt", {"model": state, "ema": other}))
    assert torch.equal(tokenizer.state_dict()["quant_conv.bias"], torch.ones(8))


def test_a_rectangular_vits_grid_is_read_off_its_positions(tmp_path: Path) -> None:
    _, path = by_rule.original_file("toy-vitvq-rect", tmp_path, with_config=False)
    assert tokenizers.load(path).preprocessing["size"] == [32, 48]


@pytest.mark.parametrize("place", ["x.yaml", "config.yaml", "../configs/model.yaml", "2021-project.yaml"])
def test_a_published_yaml_beside_the_file_is_used(place: str, taming: Weights, tmp_path: Path) -> None:
    folder = tmp_path / "ckpts"
    folder.mkdir()
    (tmp_path / "configs").mkdir()
    (folder / place).write_text(
        "model:\n  target: taming.models.vqgan.VQModel\n  params:\n    embed_dim: 8\n    n_embed: 64\n"
        "    ddconfig: {double_z: false, z_channels: 16, resolution: 192, ch: 32, ch_mult: [1, 2, 2],\n"
        "      num_res_blocks: 1, attn_resolutions: [48]}\n    lossconfig: {target: x}\n"
    )
    assert tokenizers.load(saved(folder / "x.ckpt", taming)).preprocessing["size"] == 192


def test_a_configuration_that_contradicts_the_weights_is_refused(taming: Weights, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"n_embed": 1024, "embed_dim": 8, "ddconfig": {"resolution": 64}}))
    with pytest.raises(TokenizerError, match="codes 1024 instead of 64"):
        tokenizers.load(saved(tmp_path / "x.ckpt", taming))


def test_a_configuration_that_changes_the_model_unseen_is_refused(taming: Weights, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"ddconfig": {"tanh_out": True}}))
    with pytest.raises(TokenizerError, match="tanh_out"):
        tokenizers.load(saved(tmp_path / "x.ckpt", taming))


def test_a_yaml_that_names_code_is_not_run(taming: Weights, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(TokenizerError, match=r"x\.yaml.*configuration"):
        tokenizers.load(saved(tmp_path / "x.ckpt", taming))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_foreign_objects_opens_and_runs_none_of_them(
    zipped: bool, taming: Weights, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    about = {"hyper_parameters": argparse.Namespace(lr=1e-4), "callbacks": Foreign(), "evil": Evil(mark)}
    path = saved(tmp_path / "x.ckpt", {"state_dict": taming, **about}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    opened = tokenizers.load(path)
    assert not mark.exists()
    assert opened.identity() == tokenizers.load(saved(tmp_path / "plain.ckpt", taming)).identity()


def test_views_of_one_storage_and_half_precision_survive_the_restricted_reader(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    state = {"a": whole.T, "b": whole[1:, 2:], "c": torch.nn.Parameter(whole.half()), "d": torch.empty(0)}
    for zipped in (True, False):
        path = saved(tmp_path / "x.ckpt", {**state, "x": Foreign()}, _use_new_zipfile_serialization=zipped)
        found, fetch = pickles.read(path)
        for key, value in state.items():
            assert torch.equal(fetch(found[key]), value)


def test_a_whole_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "tokenizer.ckpt", torch.nn.Linear(2, 2))
    with pytest.raises(TokenizerError, match=r"whole pickled object.*state_dict"):
        tokenizers.load(path)


def plain_zip(path: Path, program: bytes, **entries: bytes) -> Path:
    """Writes a torch container around a pickle program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for name, data in entries.items():
            archive.writestr(f"archive/data/{name[1:]}", data)
    return path


def everything(path: Path) -> list[torch.Tensor]:
    """Fetches every tensor of a file through the restricted reader."""
    found, fetch = pickles.read(path)
    values = found.values() if isinstance(found, dict) else ()
    return [fetch(value) for value in values if isinstance(value, pickles.Stored)]


HOSTILE = {
    "deep marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "huge memo index": b"\x80\x02]r\xff\xff\xff\x7f.",
    "memo never filled": b"\x80\x02j\xff\xff\xff\x7f.",
    "no end": b"\x80\x02]",
    "too long": b"\x80\x02" + b"N0" * 600_000 + b"N.",
    "nothing left": b"\x80\x020.",
    "no mark": b"\x80\x02]]e.",
    "text longer than the file": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "extension code": b"\x80\x02\x82\x01.",
    "name built of lists": b"\x80\x04]]\x93.",
    "instance by name": b"(S'x'\nios\nsystem\n.",
    "doubling lists": b"\x80\x02]q\x00"
    + b"".join(b"](h%ch%ce" % (n, n) + b"q%c" % (n + 1) for n in range(40))
    + b".",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_ends_in_an_error_soon(name: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    if zipped:
        plain_zip(path, HOSTILE[name])
    else:
        path.write_bytes(HOSTILE[name])
    with pytest.raises(TokenizerError):
        tokenizers.load(path)


def tensor_program(numel: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Returns the pickle of {"a": tensor} as torch writes it, with any claims."""

    class Block: ...

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if isinstance(value, Block) else None

    class Claim:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Block(), offset, size, stride, False, {})

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"a": Claim()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((1 << 40,), (0,), 0),
        ((4, 4), (4, 1), 1),
        ((5,), (1,), 0),
        ((2,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2,), (1 << 62,), 0),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_a_tensor_that_claims_more_than_its_storage_is_refused(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int, tmp_path: Path
) -> None:
    path = plain_zip(tmp_path / "x.ckpt", tensor_program(4, size, stride, offset), _0=bytes(16))
    with pytest.raises(TokenizerError, match="cannot be read"):
        everything(path)


def test_a_compressed_storage_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_program(1 << 22, (1 << 22,), (1,)), zipfile.ZIP_STORED)
        archive.writestr("archive/data/0", bytes(1 << 24))
    found, fetch = pickles.read(path)
    with pytest.raises(TokenizerError, match="compressed"):
        fetch(found["a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_ends_in_our_error_or_in_tensors(zipped: bool, tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2), "x": Foreign()}
    whole = saved(tmp_path / "x.ckpt", state, _use_new_zipfile_serialization=zipped).read_bytes()
    draw = random.Random(1)
    path = tmp_path / "damaged.ckpt"
    for _ in range(100):
        data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 8)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(TokenizerError):
            everything(path)


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"<!DOCTYPE html><html>", "web page"), (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer")],
)
def test_a_page_and_a_pointer_are_called_what_they_are(start: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(start)
    with pytest.raises(TokenizerError, match=said):
        tokenizers.load(path)


def test_a_zip_that_holds_a_checkpoint_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "vq-f8.zip", "w") as archive:
        archive.writestr("model.ckpt", b"x")
    with pytest.raises(TokenizerError, match=r"model\.ckpt: unpack it"):
        tokenizers.load(tmp_path / "vq-f8.zip")


def test_keys_of_no_family_are_shown(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"conv1\.weight.*no family"):
        tokenizers.load(saved(tmp_path / "x.pt", {"conv1.weight": torch.ones(1)}))
