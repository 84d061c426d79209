"""Each stem is the convolution that the paper describes, written out cell by cell."""

import pytest
import torch

from seit.models import STEMS, stem_of

# name: kernel, stride, zeros before, zeros after, transposed; from section 3.2.2, Tables 6 and 7, appendix B.5
PAPER = {
    "linear": (1, 1, 0, 0, False),
    "conv2": (2, 2, 0, 0, False),
    "conv4": (4, 2, 1, 1, False),
    "conv2s1": (2, 1, 0, 1, False),
    "conv3": (3, 1, 1, 1, False),
    "deconv": (4, 2, 1, 1, True),
    "patch4": (4, 4, 0, 0, False),
}


def _naive(x: torch.Tensor, name: str, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Maps x [d, m, m] to [D, k, k], one cell after another."""
    kernel, stride, before, after, transposed = PAPER[name]
    d, side, _ = x.shape
    if transposed:  # every cell paints a kernel; the border is cut off
        canvas = torch.zeros(weight.shape[1], *[(side - 1) * stride + kernel] * 2)
        for y in range(side):
            for z in range(side):
                at = (slice(y * stride, y * stride + kernel), slice(z * stride, z * stride + kernel))
                canvas[:, *at] += torch.einsum("d,dDyx->Dyx", x[:, y, z], weight)
        return canvas[:, before:-after, before:-after] + bias[:, None, None]
    padded = torch.zeros(d, *[side + before + after] * 2)
    padded[:, before : before + side, before : before + side] = x
    k = (side + before + after - kernel) // stride + 1
    out = torch.empty(weight.shape[0], k, k)
    for y in range(k):
        for z in range(k):
            window = padded[:, y * stride : y * stride + kernel, z * stride : z * stride + kernel]
            out[:, y, z] = (weight * window).sum((1, 2, 3)) + bias
    return out


def test_every_stem_has_its_naive_version() -> None:
    assert set(STEMS) == set(PAPER) - {"patch4"}


@pytest.mark.parametrize("name", PAPER)
@torch.no_grad()
def test_a_stem_is_its_convolution_cell_by_cell(name: str) -> None:
    stem = stem_of(name)
    x = torch.randn(2, 5, 8, 8)
    conv = stem.convolution(5, 7, True)
    weight, bias = (value for value in conv.state_dict().values())
    found = conv(x)
    assert found.shape[-1] == stem.output_side(8)
    for row in range(2):
        assert (found[row] - _naive(x[row], name, weight, bias)).abs().max() < 1e-5
