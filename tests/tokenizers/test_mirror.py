"""The table of mirrored ids, where it can be known beforehand."""

from __future__ import annotations

import by_rule
import numpy as np
import torch
from colours import colours

from seit.tokenizers import load
from seit.tokenizers.mirror import mirror_table


def test_a_cell_of_one_colour_mirrors_to_itself() -> None:
    used = torch.arange(0, 4096, 7)
    ids = np.random.default_rng(0).integers(0, len(used), (20, 8, 8)).astype(np.uint16)
    tokenizer = colours()
    before = tokenizer.identity()
    assert mirror_table(tokenizer, ids, used).tolist() == list(range(len(used)))
    assert tokenizer.identity() == before


def test_a_code_that_does_not_occur_maps_to_itself() -> None:
    used = torch.tensor([5, 4000, 17])
    assert mirror_table(colours(), np.zeros((1, 4, 4), np.uint16), used).tolist() == [0, 1, 2]


def test_every_family_is_searched_by_its_own_rule(tmp_path) -> None:
    for name in ("toy-vitvq", "toy-gumbel"):
        golden, path = by_rule.original_file(name, tmp_path)
        tokenizer = load(path)
        image = by_rule.image(golden["seedword"], 0, 64, 64)
        with torch.inference_mode():
            ids = tokenizer.encode(image)
            used, stored = ids.unique(return_inverse=True)
            again = tokenizer.keep(used).encode(tokenizer.decode(stored).flip(-1))
        counts = torch.zeros(len(used), len(used), dtype=torch.int64)
        counts.index_put_((stored.flip(-1).flatten(), again.flatten()), torch.tensor(1), accumulate=True)
        table = mirror_table(load(path), stored.numpy(), used)
        assert table.tolist() == counts.argmax(1).tolist()
