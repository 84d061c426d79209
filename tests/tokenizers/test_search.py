"""The code searches against a naive one, and in what they promise about precision, ties and memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seit.tokenizers import search
from seit.tokenizers.search import cosine, dot, euclidean


def naive(features: torch.Tensor, codebook: torch.Tensor, rule: str) -> np.ndarray:
    """Looks at one cell and one code at a time, in float64."""
    z, codes = features.double().numpy(), codebook.double().numpy()
    batch, _, rows, columns = z.shape
    ids = np.empty((batch, rows, columns), np.int64)
    for b, r, c in np.ndindex(batch, rows, columns):
        v = z[b, :, r, c]
        score = {
            "euclidean": lambda e, v=v: -((v - e) ** 2).sum(),
            "cosine": lambda e, v=v: (v @ e) / np.sqrt((v @ v) * (e @ e)),
            "dot": lambda e, v=v: v @ e,
        }[rule]
        ids[b, r, c] = int(np.argmax([score(code) for code in codes]))
    return ids


@pytest.mark.parametrize("rule", ["euclidean", "cosine", "dot"])
@pytest.mark.parametrize("pairs", [1 << 19, 100])
def test_each_rule_finds_what_a_naive_search_finds(rule: str, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(search._PAIRS, "cpu", pairs)
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, 5, 4, 6, generator=generator)
    codebook = torch.randn(33, 5, generator=generator)
    found = {"euclidean": euclidean, "cosine": cosine, "dot": dot}[rule](features, codebook)
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), naive(features, codebook, rule))


def test_the_lowest_id_wins_an_exact_tie() -> None:
    codebook = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    features = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert euclidean(features, codebook).item() == 1
    assert cosine(features, codebook).item() == 0
    assert dot(features, codebook[1:]).item() == 0


@pytest.mark.parametrize("codes", [63, 64, 65, 192, 1024])
def test_ties_and_ends_are_found_whether_or_not_the_codes_divide_into_blocks(codes: int) -> None:
    generator = torch.Generator().manual_seed(codes)
    codebook = torch.randint(-3, 4, (codes, 2), generator=generator).float()  # nearly every distance is tied
    codebook[-1] = torch.tensor([9.0, 9.0])
    features = torch.randint(-9, 10, (1, 2, 4, 30), generator=generator).float()
    found = euclidean(features, codebook)
    assert np.array_equal(found.numpy(), naive(features, codebook, "euclidean"))
    assert (found == codes - 1).any()


def test_the_search_is_in_float32_whatever_the_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    codebook = 100 + 1e-3 * torch.randn(64, 8, generator=generator)  # bfloat16 sees one code
    features = codebook[torch.arange(64)].T.reshape(1, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        for rule in (euclidean, cosine):
            assert torch.equal(rule(features, codebook), rule(features, codebook.double().float()))
        # Centred, float32 tells the codes apart exactly.
        assert torch.equal(euclidean(features - 100, codebook - 100).flatten(), torch.arange(64))


def test_a_quarter_million_codes_fit_in_memory() -> None:
    codebook = torch.randn(1 << 18, 4, generator=torch.Generator().manual_seed(0))
    wanted = torch.arange(0, 1 << 18, (1 << 18) // 256)  # all pairs at once would take 256 MiB
    features = codebook[wanted].T.reshape(1, 4, 16, 16)
    assert torch.equal(euclidean(features, codebook).flatten(), wanted)
