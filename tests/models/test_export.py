import pytest
import torch

from seit.models import build
from seit.models.pipeline import ImageClassifier
from seit.tokenizers.conv import ConvTokenizer

VIEW = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


def _whole(trunk: str, stem: str) -> ImageClassifier:
    """A tokenizer, a crop and a classifier of 8 x 8 or 16 x 16 ids."""
    torch.manual_seed(0)
    tokenizer = ConvTokenizer(4, 64, preprocessing=VIEW | {"size": 64 if stem == "linear" else 32})
    tokenizer.codebook.data.normal_()
    grid = (16, 16) if stem == "linear" else (8, 8)
    classifier = build(trunk, stem, 16, grid, 10, codebook=tokenizer.codebook)
    return ImageClassifier(classifier, tokenizer, list("abcdefghij"), tokenizer.preprocessing).eval()


def _export(whole: ImageClassifier, side: int) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(whole, (torch.rand(2, 3, side, side),), dynamic_shapes=({0: batch},))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trunk", "stem", "side"), [("mini_resnet", "conv3", 32), ("deit_tiny_patch16_224", "linear", 64)]
)
@torch.no_grad()
def test_images_to_logits_export_for_any_batch_with_equal_logits(trunk: str, stem: str, side: int) -> None:
    whole = _whole(trunk, stem)
    images = torch.rand(5, 3, side, side)
    assert torch.allclose(_export(whole, side).module()(images), whole(images), atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_a_run_that_works_in_half_precision_is_exported_in_float32() -> None:
    whole, images = _whole("mini_resnet", "conv3"), torch.rand(5, 3, 32, 32)
    exact = whole(images)
    whole.precision = "bfloat16"  # what auto is on many machines
    assert not torch.allclose(whole(images), exact, atol=1e-6)
    program = _export(whole, 32)
    graphs = [part.graph for part in program.graph_module.modules() if hasattr(part, "graph")]
    values = [node.meta.get("val") for graph in graphs for node in graph.nodes]
    kinds = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    assert {kind for kind in kinds if kind.is_floating_point} == {torch.float32}
    assert torch.allclose(program.module()(images), exact, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_images_to_logits_run_under_onnx_with_equal_logits(tmp_path) -> None:
    pytest.importorskip("onnxscript", reason="onnx and onnxscript are not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    whole = _whole("mini_resnet", "conv3")
    torch.onnx.export(_export(whole, 32), (), dynamo=True).save(str(tmp_path / "m.onnx"))
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    images = torch.rand(5, 3, 32, 32)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), whole(images), atol=1e-5)
