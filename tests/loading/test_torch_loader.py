import sys
from pathlib import Path

import numpy as np
import pytest

from seit.store import TokenDataset

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
import stores

torch_data = pytest.importorskip("torch.utils.data", reason="needs torch")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_torch_data_loader_reads_a_store_with_and_without_workers(tmp_path, workers, method):
    path, ids, labels = stores.make(tmp_path / "out", 40, 12)
    data = TokenDataset(path)
    data.ids([0])  # a reader that is warm before the fork
    context = method if workers else None
    loader = torch_data.DataLoader(data, batch_size=16, num_workers=workers, multiprocessing_context=context)
    found, classes = zip(*loader, strict=True)
    stored = np.concatenate([batch.numpy() for batch in found])
    assert (data.used_codes[stored] == ids).all()
    assert np.concatenate([batch.numpy() for batch in classes]).tolist() == labels.tolist()
