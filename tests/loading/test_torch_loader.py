import sys
from pathlib import Path

import numpy as np
import pytest

from seit.loading import batches, rows_of
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


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_loader_resumes_in_mid_epoch_with_any_number_of_workers(tmp_path, workers):
    data = TokenDataset(stores.make(tmp_path / "out", 90, 12)[0], "train")
    whole = list(batches(data, 16, seed=4, epoch=2))
    orders = (rows_of(data, np.arange(first, min(first + 16, 90)), 4, 2) for first in range(32, 90, 16))
    loader = torch_data.DataLoader(data, batch_sampler=orders, num_workers=workers)
    for (_, ids, labels), (found, classes) in zip(whole[2:], loader, strict=True):
        assert (found.numpy() == ids).all()
        assert (classes.numpy() == labels).all()
