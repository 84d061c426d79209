import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn
from torchvision.transforms import functional

from seit.errors import ModelError
from seit.models import build, stem_of, trunk_names


def _count(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("stem", "m", "view", "k"),
    [("linear", 14, 28, 14), ("conv2", 28, 28, 14), ("conv4", 28, 28, 14), ("deconv", 28, 28, 56)],
)
def test_stems_of_a_32x32_grid_have_the_papers_sides(stem: str, m: int, view: int, k: int) -> None:
    chosen = stem_of(stem)
    assert (chosen.input_side(32), chosen.view_side(32), chosen.output_side(m)) == (m, view, k)
    assert chosen.convolution(32, 768, True)(torch.zeros(1, 32, m, m)).shape == (1, 768, k, k)


def test_the_f16_stem_gives_14x14_from_14_of_16_cells() -> None:
    stem = stem_of("conv2s1")
    assert (stem.input_side(16), stem.output_side(14)) == (14, 14)
    conv = stem.convolution(256, 384, True)
    assert conv(torch.zeros(1, 256, 14, 14)).shape == (1, 384, 14, 14)
    # The odd row and column of zeros stand at the bottom and right: the first cell sees four real ones.
    x = torch.zeros(1, 256, 14, 14)
    x[:, :, 1, 1] = 1
    assert bool((conv(x)[0, :, 0, 0] != conv(torch.zeros_like(x))[0, :, 0, 0]).any())


@pytest.mark.parametrize(
    ("stem", "n", "m", "k"),
    [
        ("conv3", 8, 8, 8),
        ("conv4", 8, 8, 4),
        ("linear", 12, 5, 5),
        ("native", 256, 224, 224),
        ("native", 32, 32, 32),
        ("conv2s1", 8, 8, 8),
        ("conv4", 7, 6, 3),
        ("conv3", 16, 14, 14),
        ("conv4", 64, 56, 28),
        ("conv4", 24, 22, 11),
        ("patch16", 256, 224, 14),
        ("patch4", 32, 32, 8),
        ("patch4", 64, 56, 14),
        ("patch16", 128, 112, 7),
        ("patch8", 256, 224, 28),
    ],
)
def test_m_is_seven_eighths_of_n_rounded_to_the_stride_and_small_grids_stay_whole(
    stem: str, n: int, m: int, k: int
) -> None:
    assert (stem_of(stem).input_side(n), stem_of(stem).output_side(m)) == (m, k)


@pytest.mark.parametrize(
    ("trunk", "stem", "features", "logits_parameters"),
    [
        # counts of the official models (152 tensors each)
        ("deit_base_patch16_224", "conv4", (1, 196, 768), 86_371_048),
        ("deit_small_patch16_224", "conv4", (1, 196, 384), 21_952_360),
        # timm's own counts with 3*7*7*64 weights of its stem exchanged for 32*4*4*64
        ("resnet50", "deconv", (1, 64, 56, 56), 25_557_032 - 9_408 + 32_768),
        ("resnet18", "deconv", (1, 64, 56, 56), 11_689_512 - 9_408 + 32_768),
        ("convnext_tiny", "deconv", (1, 96, 56, 56), 28_589_128 - 4_608 + 49_152),
        ("swin_tiny_patch4_window7_224", "deconv", (1, 56, 56, 96), 28_288_354 - 4_608 + 49_152),
    ],
)
def test_trunks_have_fig_3s_shapes_and_the_papers_parameter_counts(
    trunk: str, stem: str, features: tuple[int, ...], logits_parameters: int
) -> None:
    model = build(trunk, stem).eval()
    assert _count(model) == logits_parameters
    vectors = torch.zeros(1, 32, 28, 28)
    seen = []
    name = {"resnet": "maxpool", "convne": "stem"}.get(trunk[:6], "patch_embed")
    getattr(model.trunk, name).register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    with torch.no_grad():
        assert model(vectors).shape == (1, 1000)
    assert seen == [features]


def test_resnet_keeps_timms_norm_and_activation_and_loses_its_pool() -> None:
    ours, theirs = build("resnet18", "deconv").trunk, timm.create_model("resnet18")
    assert isinstance(ours.maxpool, nn.Identity)
    mine = {name: value.shape for name, value in ours.state_dict().items() if not name.startswith("conv1.")}
    assert mine == {name: value.shape for name, value in theirs.state_dict().items() if name != "conv1.weight"}


@pytest.mark.parametrize(("trunk", "parameters"), [("resnet50", 25_557_032), ("resnet18", 11_689_512)])
def test_a_resnet_on_pixels_may_keep_its_own_stem_and_is_then_timms_resnet(trunk: str, parameters: int) -> None:
    model = build(trunk, "native", 3, (256, 256), normalise="imagenet").eval()
    theirs = timm.create_model(trunk).eval()
    assert _count(model) == parameters
    theirs.load_state_dict(model.trunk.state_dict())
    images = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    wanted = functional.normalize(
        functional.center_crop(images, [224, 224]).float() / 255, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    )
    with torch.no_grad():
        assert torch.allclose(model.prepare(images), wanted, atol=1e-6)
        assert torch.allclose(model(model.prepare(images)), theirs(wanted), atol=1e-5)


@pytest.mark.parametrize(
    ("stem", "channels", "classes", "parameters"),
    [("native", 3, 10, 1_094_750), ("native", 3, 100, 1_109_240), ("conv3", 32, 100, 1_114_460)],
)
def test_reduced_resnet18_is_lopez_pazs_on_pixels_and_on_ids(stem, channels, classes, parameters) -> None:
    model = build("reduced_resnet18", stem, channels, (32, 32), classes)
    assert _count(model) == parameters
    side = 32 if channels == 3 else 28
    assert model.trunk.forward_features(torch.zeros(1, channels, side, side)).shape == (1, 160, 4, 4)


def test_the_pixel_baseline_is_timms_deit_which_classifies_from_its_class_token() -> None:
    model = build("deit_tiny_patch16_224", "patch16", 3, (256, 256), normalise="imagenet").eval()
    theirs = timm.create_model("deit_tiny_patch16_224").eval()
    theirs.load_state_dict(model.trunk.state_dict())
    images = torch.rand(2, 3, 256, 256)
    wanted = functional.normalize(images[:, :, 16:240, 16:240], IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    with torch.no_grad():
        assert torch.allclose(model(model.prepare(images)), theirs(wanted), atol=1e-5)
    assert theirs.global_pool == "token"


def test_pixels_give_the_same_input_as_bytes_and_as_shares_of_1_and_let_gradients_through() -> None:
    model = build("mini_resnet", "native", 3, (32, 32), 7).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    shares = (images.float() / 255).requires_grad_()
    assert torch.allclose(model.prepare(images), images.float() / 127.5 - 1, atol=1e-6)
    assert torch.allclose(model.prepare(images), model.prepare(shares), atol=1e-6)
    model(model.prepare(shares)).square().sum().backward()
    assert float(shares.grad.abs().sum()) > 0


@pytest.mark.parametrize("stem", ["conv4", "linear"])
def test_vectors_give_the_logits_of_their_ids_and_let_gradients_through(stem: str) -> None:
    codebook = torch.randn(20, 8)
    model = build("deit_tiny_patch16_224", stem, 8, (16, 16), 5, codebook=codebook).eval()
    ids = torch.randint(0, 20, (2, 16, 16))
    vectors = codebook[ids].movedim(-1, 1).clone().requires_grad_()
    logits = model(model.prepare_vectors(vectors))
    assert torch.allclose(logits, model(model.prepare(ids)), atol=1e-6)
    logits.square().sum().backward()
    seen = vectors.grad.abs().sum(1) > 0  # [2, 16, 16]
    assert bool(seen[:, 1:15, 1:15].all())
    assert int(seen.sum()) == 2 * 14 * 14


@pytest.mark.parametrize("trunk", ["deit_base_patch16_224", "vit_tiny_patch16_224"])
def test_the_class_token_starts_as_deits_does(trunk: str) -> None:
    torch.manual_seed(0)
    assert float(build(trunk).trunk.cls_token.std()) == pytest.approx(0.02, rel=0.15)


def test_vit_pools_patches_before_its_final_norm_without_the_class_token() -> None:
    model = build("deit_tiny_patch16_224", "conv3", 8, (4, 4), 5).eval()
    x = torch.randn(2, 8, 4, 4)
    cells = model.trunk.forward_features(x)
    assert cells.shape == (2, 17, 192)
    pooled = nn.functional.layer_norm(
        cells[:, 1:].mean(1), (192,), model.trunk.fc_norm.weight, model.trunk.fc_norm.bias, 1e-6
    )
    expected = pooled @ model.trunk.head.weight.T + model.trunk.head.bias
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert isinstance(model.trunk.norm, nn.Identity)


@pytest.mark.parametrize(
    ("trunk", "stem", "channels", "grid"),
    [
        ("mini_resnet", "conv3", 24, (8, 8)),
        ("mini_resnet_wide", "conv3", 24, (16, 16)),
        ("reduced_resnet18", "deconv", 32, (32, 32)),
        ("reduced_resnet18", "conv3", 24, (8, 8)),
        ("mini_resnet", "patch4", 3, (32, 32)),
        ("deit_tiny_patch16_224", "conv2", 8, (12, 20)),
        ("deit_tiny_patch16_224", "linear", 8, (32, 32)),
        ("swin_tiny_patch4_window7_224", "conv3", 8, (16, 10)),
        ("convnext_atto", "conv3", 8, (8, 8)),
    ],
)
def test_trunks_train_on_any_grid_in_channels_last_and_bf16(
    trunk: str, stem: str, channels: int, grid: tuple[int, int]
) -> None:
    model = build(trunk, stem, channels, grid, 7, drop_path=0.1).to(memory_format=torch.channels_last)
    x = torch.randn(2, channels, *model.input_grid).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(x)
    logits.float().square().sum().backward()
    assert logits.shape == (2, 7)
    assert all(value.grad is not None for name, value in model.named_parameters() if "norm_pre" not in name)


def test_no_layer_of_a_resnet_leaves_channels_last() -> None:
    model = build("mini_resnet", "conv3", 16, (8, 8), 7).to(memory_format=torch.channels_last)
    left = []
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _, __, out, name=name: (
                    left.append(name)
                    if out.ndim == 4 and not out.is_contiguous(memory_format=torch.channels_last)
                    else None
                )
            )
    model(torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last))
    assert left == []


def test_reduced_resnet18_has_20_base_channels() -> None:
    trunk = build("reduced_resnet18", "deconv").trunk
    assert [getattr(trunk, f"layer{i}")[1].conv2.out_channels for i in (1, 2, 3, 4)] == [20, 40, 80, 160]
    assert trunk.layer1[0].downsample is None
    assert trunk.conv1.out_channels == 20


def test_timms_layer_decay_groups_cover_every_parameter_and_put_the_stem_first() -> None:
    from timm.optim import param_groups_layer_decay

    model = build("deit_tiny_patch16_224", codebook=torch.randn(20, 32), learned=True)
    groups = param_groups_layer_decay(model, 0.1, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay())
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    scale = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    decay = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
    assert scale[id(model.table)] == scale[id(model.trunk.patch_embed.proj.weight)] == min(scale.values())
    assert scale[id(model.trunk.head.weight)] == 1
    assert decay[id(model.table)] == decay[id(model.trunk.pos_embed)] == 0
    assert decay[id(model.trunk.head.weight)] == 0.1


@pytest.mark.parametrize(
    ("trunk", "stem", "width"),
    [
        ("deit_tiny_patch16_224", "conv4", 192),
        ("resnet18", "deconv", 512),
        ("swin_tiny_patch4_window7_224", "deconv", 768),
    ],
)
def test_a_trunk_is_a_timm_model_to_timms_own_tools(trunk: str, stem: str, width: int) -> None:
    inner = build(trunk, stem, classes=10).trunk.eval()
    x = torch.randn(1, 32, 28, 28)
    assert inner.num_features == width
    assert torch.equal(inner.forward_head(inner.forward_features(x)), inner(x))
    _, maps = inner.forward_intermediates(x, indices=[0, 1])
    assert all(one.ndim == 4 for one in maps)
    inner.reset_classifier(7)
    assert inner(x).shape == (1, 7)
    assert inner.get_classifier().out_features == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trunk": "deit_smal_patch16_224"}, r"trunk: there is no trunk .*did you mean 'deit_small_patch16_224'"),
        ({"trunk": "vgg11"}, "trunk: vgg11 is none of the networks whose stem can be replaced"),
        ({"stem": "conv5"}, "stem: there is no stem 'conv5'; did you mean 'conv4'"),
        (
            {"trunk": "resnet18", "grid": (8, 8)},
            "trunk resnet18: its blocks need a grid of at least 8x8, the stem gives 4x4; take a stem of smaller",
        ),
        ({"input_grid": (33, 33)}, "stem conv4: an input of 33x33 from a grid of 32x32; choose an input_grid"),
        ({"grid": (1, 1)}, "an input of 0x0 from a grid of 1x1"),
        (
            {"codebook": torch.zeros(9, 16)},
            "stem conv4: the codebook's vectors have 16 entries, the stem takes 32; set channels to 16",
        ),
        ({"stem": "linear", "grid": (8, 8)}, "stem: shrinks a grid of 8 cells a side, which is few; choose conv3"),
        ({"stem": "native", "channels": 3}, "stem: native is for ResNets, not for deit_tiny_patch16_224; choose"),
        ({"pool": "token", "trunk": "resnet18", "stem": "deconv"}, "trunk resnet18: it has no class token"),
        ({"pool": "max"}, "pool: there is no pool 'max'"),
        ({"normalise": "imagnet"}, "normalise: there is no scale 'imagnet' of pixels; did you mean 'imagenet'"),
        ({"stem": "patch16"}, "stem: stem patch16 takes RGB pixels, not 32 channels"),
        ({"classes": 0}, "classes: 0 classes"),
    ],
)
def test_wrong_configurations_are_refused_in_one_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(**{"trunk": "deit_tiny_patch16_224", **arguments})


def test_vectors_of_another_shape_are_refused() -> None:
    model = build("mini_resnet", "conv3", 16, (8, 8), 7)
    with pytest.raises(ModelError, match=r"vectors of shape \[2, 8, 8, 8\] where \[B, 16, 8, 8\] is needed"):
        model(torch.zeros(2, 8, 8, 8))


def test_trunk_names_lists_the_small_trunks_and_the_four_families() -> None:
    names = trunk_names()
    assert {"mini_resnet", "reduced_resnet18", "vit_large_patch16_224", "resnet50", "convnext_tiny"} <= set(names)
    assert not {"vgg11", "deit_tiny_distilled_patch16_224", "convnext_atto_ols"} & set(names)


@pytest.mark.slow
def test_listed_trunks_build_and_map_a_batch_to_logits() -> None:
    for name in [*trunk_names()[::12], "resnet50_gn", "vit_intern300m_patch14_448", "test_vit2"]:
        stem = "deconv" if name.startswith("swin") or "ne" in name[:7] or "res" in name else "conv4"
        with torch.device("meta"):
            assert build(name, stem, classes=7).eval()(torch.zeros(1, 32, 28, 28)).shape == (1, 7), name
