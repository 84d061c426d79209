"""Pushing to the hub and opening from it, by the real client, against a server of this machine."""

import json
import os
import subprocess
import sys

import hub_server
import pytest
import stores

from seit.store import TokenDataset

PROGRAM = """
import sys, json
import numpy as np, seit
url = seit.push(sys.argv[1], "hf://datasets/me/toy")["url"]
data = seit.TokenDataset(url, "val")
print(json.dumps([url, data.tokenizer_ids(np.arange(len(data))).tolist(), data.labels.tolist()]))
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program whose hub is ours; returns (hub, call)."""
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    hub = hub_server.Hub()
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_nobodys",
        "SEIT_CACHE": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
    }

    def call(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    yield hub, call
    hub.server.shutdown()
    hub.server.server_close()


def test_a_pushed_data_set_opens_from_the_hub(run, tmp_path):
    hub, call = run
    path, ids, labels = stores.make(tmp_path / "out")
    (path / "notes.txt").write_text("not part of the data set")
    done = call(PROGRAM, path)
    assert done.returncode == 0, done.stderr
    url, found, classes = json.loads(done.stdout.splitlines()[-1])
    assert url == "hf://datasets/me/toy"
    assert found == ids[40:].tolist()
    assert classes == labels[40:].tolist()
    assert len(hub.commits) == 1, "all of it at once, or nothing"
    named = {file.file for file in TokenDataset(path).manifest.files}
    assert set(hub.files) == named | {"manifest.json", "README.md"}
    card = hub.files["README.md"].decode()
    assert "TokenDataset('hf://datasets/me/toy')" in card
    assert "recognisable images" in card
    assert not [asked for asked in hub.asked if "resolve" in asked and "train" in asked], (
        "only what is read is fetched"
    )
