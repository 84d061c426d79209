import numpy as np
import stores

from seit.store import TokenDataset
from seit.store.npy import export_npy, import_npy


def test_arrays_come_back_as_they_went_in(tmp_path):
    ids, labels = stores.random_ids(30), np.arange(30) % 2
    np.save(tmp_path / "in.npy", ids.astype(np.uint16))
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r")
    out = import_npy(
        {"train": (mapped[:20], labels[:20]), "val": (mapped[20:], labels[20:])},
        tmp_path / "out",
        tokenizer={"name": "other", "identity": "z"},
        vocabulary=64,
        classes=["a", "b"],
        codec="zero-order",
    )
    data = TokenDataset(out)
    assert data.splits == {"train": 20, "val": 10}
    written = export_npy(data, tmp_path / "plain")
    assert sorted(path.name for path in written) == ["ids.npy", "labels.npy", "names.txt"]
    assert (data.used_codes[np.load(tmp_path / "plain/ids.npy")] == ids).all()
    assert (np.load(tmp_path / "plain/labels.npy") == labels).all()
    assert len((tmp_path / "plain/names.txt").read_text().splitlines()) == 30
