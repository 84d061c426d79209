import io
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import stores

from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.exports import export_parquet, export_webdataset
from seit.store.hub import card


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset(stores.make(tmp_path_factory.mktemp("exports") / "out")[0])


def test_a_tar_holds_each_rows_ids_and_class(data, tmp_path):
    (path,) = export_webdataset(data, tmp_path)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names[:3] == ["000000000.npy", "000000000.cls", "000000000.txt"]
        ids = np.stack([np.load(io.BytesIO(tar.extractfile(name).read())) for name in names[::3]])
        labels = [int(tar.extractfile(name).read()) for name in names[1::3]]
    assert (ids == data[:][0]).all()
    assert labels == data.labels.tolist()


def test_webdataset_reads_those_tars(data, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
    (path,) = export_webdataset(data, tmp_path)
    rows = list(webdataset.WebDataset(str(path), shardshuffle=False).decode())
    assert (np.stack([row["npy"] for row in rows]) == data[:][0]).all()
    assert [row["cls"] for row in rows] == data.labels.tolist()
    assert [row["txt"] for row in rows] == data.names(np.arange(52))


def test_a_parquet_file_holds_ids_labels_and_class_names(data, tmp_path):
    path = export_parquet(data, tmp_path)
    table = pq.read_table(path)
    assert (np.array(table["ids"].to_pylist()).reshape(-1, 8, 8) == data[:][0]).all()
    assert table["label"].to_pylist() == data.labels.tolist()
    assert table["name"].to_pylist() == data.names(np.arange(52))
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"]["names"] == ["cat", "dog"]


def test_datasets_opens_that_file(data, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    export_parquet(data, tmp_path)
    found = datasets.Dataset.from_parquet(str(tmp_path / "train.parquet"), cache_dir=str(tmp_path))
    assert found.features["label"].names == ["cat", "dog"]
    assert found[3]["ids"] == data[3][0].reshape(-1).tolist()


def test_other_kinds_of_labels_are_refused(tmp_path):
    w = stores.writer(tmp_path / "out")
    w.write(0, "train", stores.random_ids(5), np.ones((5, 2), bool), stores.table(5))
    with pytest.raises(StoreError, match="rows have multi labels"):
        export_parquet(TokenDataset(w.commit()), tmp_path)


def test_the_card_names_source_terms_and_what_ids_reveal(data):
    text = card(data.path)
    assert "toy source" in text
    assert "**Terms of the source:** none" in text
    assert "recognisable images" in text
    assert "| train | 40 |" in text
