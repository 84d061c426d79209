"""Pushing to the hub and opening from it, by the real client, against a server of this machine."""

import json
import os
import subprocess
import sys

import hub_server
import pytest
import stores

from seit.store import TokenDataset
from seit.store import manifest as manifests
from seit.store.append import append

REPO = "datasets/me/toy"
PUSH = """
import json, sys, seit
from seit.errors import SeitError
try:
    print(json.dumps(seit.push(sys.argv[1], "hf://datasets/me/toy", **json.loads(sys.argv[2]))["url"]))
except SeitError as error:
    print(json.dumps(f"refused: {error}"))
"""
READ = """
import json, sys
import numpy as np
from seit import TokenDataset
data = TokenDataset(sys.argv[1], "val")
print(json.dumps([data.path, data.tokenizer_ids(np.arange(len(data))).tolist(), data.labels.tolist()]))
"""


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    server = hub_server.Hub()
    yield server
    server.close()


@pytest.fixture
def call(hub, tmp_path):
    """Runs a program whose hub is ours; returns the JSON that it prints last."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_nobodys",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "SEIT_CACHE": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
    }

    def run(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def push(call):
    return lambda path, **options: call(PUSH, path, json.dumps(options))


def named(path):
    return {file.file for file in manifests.read(path / manifests.NAME).files} | {manifests.NAME}


BESIDE = {"README.md", ".gitattributes"}


def test_a_pushed_data_set_opens_from_the_hub_at_the_commit_that_was_there(hub, call, push, tmp_path):
    path, ids, labels = stores.make(tmp_path / "out")
    (path / "notes.txt").write_text("not part of the data set")
    assert push(path) == "hf://datasets/me/toy"
    assert hub.repositories[REPO].private
    assert len(hub.repositories[REPO].commits) == 2, "all of it at once, or nothing"
    assert set(hub.files(REPO)) == named(path) | BESIDE
    card = hub.files(REPO)["README.md"].decode()
    assert "TokenDataset('hf://datasets/me/toy')" in card
    assert "recognisable images" in card
    assert "license: other\n" in card
    place, found, classes = call(READ, "hf://datasets/me/toy")
    assert place == f"hf://datasets/me/toy@{hub.repositories[REPO].head}"
    assert found == ids[40:].tolist()
    assert classes == labels[40:].tolist()
    assert not [asked for asked in hub.asked if "resolve" in asked and "train" in asked], (
        "only what is read is fetched"
    )
    assert not [asked for asked in hub.asked if "resolve/main" in asked], "all at one commit"


def test_a_grown_data_set_replaces_its_earlier_state_and_nothing_else(hub, call, push, tmp_path):
    path, ids, _ = stores.make(tmp_path / "out", seed=1)
    push(path, public=True)
    assert not hub.repositories[REPO].private
    early, before = named(path), hub.repositories[REPO].head
    first = hub.files(REPO)["README.md"].decode()
    theirs = first.replace("license: other", "license: mit").replace("# Token", "# Title\n\n# Token")
    theirs = (
        theirs.replace("<!-- seit writes from", "Their introduction.\n<!-- seit writes from") + "Their words.\n"
    )
    hub.repositories[REPO].commit({"README.md": theirs.encode(), "train.arrow": b"theirs", "notes.bin": b"theirs"})
    assert push(path) == "hf://datasets/me/toy"
    assert len(hub.repositories[REPO].commits) == 4, "their title stood in our part of the card"
    push(path)
    assert len(hub.repositories[REPO].commits) == 4, "nothing has changed"
    more, _, _ = stores.make(tmp_path / "more", seed=2, vocabulary=64)
    append(path, {"train": TokenDataset(more, "train")})
    push(path)
    assert early - named(path)
    assert set(hub.files(REPO)) == named(path) | BESIDE | {"train.arrow", "notes.bin"}
    card = hub.files(REPO)["README.md"].decode()
    assert "license: mit" in card
    assert "Their introduction." in card
    assert card.endswith("Their words.\n")
    assert "# Title" not in card
    assert "| train | 80 |" in card
    assert call(READ, f"hf://datasets/me/toy@{before}")[1] == ids[40:].tolist()


def test_what_the_repository_holds_of_others_is_replaced_only_when_asked(hub, push, tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    other, _, _ = stores.make(tmp_path / "other", seed=3, val=0, plan="another")
    cure = "--overwrite replaces it, or name another repository"
    push(other)
    before = dict(hub.files(REPO))
    assert push(path) == f"refused: me/toy: already holds another token data set; {cure}"
    hub.repositories[REPO].commit({"README.md": b"# Written by hand\n"}, gone=named(other))
    assert push(path) == f"refused: me/toy: holds a README.md that seit did not write; {cure}"
    name = stores.file_of(path, "val").name
    hub.repositories[REPO].commit({"README.md": b"---\nlicense: mit\n---\n", name: b"theirs"})
    assert push(path) == f"refused: me/toy: holds another {name}; {cure}"
    assert hub.files(REPO)[name] == b"theirs"
    hub.repositories[REPO].commit(before | {"README.md": b"# Written by hand\n"}, gone={name})
    assert push(path, overwrite=True) == "hf://datasets/me/toy"
    assert set(hub.files(REPO)) == named(path) | BESIDE
    assert "by hand" not in hub.files(REPO)["README.md"].decode()


def test_a_repository_made_with_a_license_alone_takes_the_card(hub, push, tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    hub.repositories[REPO] = hub_server.Repository(private=False)
    hub.repositories[REPO].commit({"README.md": b"---\nlicense: cc-by-4.0\ntags:\n- photos\n---\n"})
    assert push(path) == "hf://datasets/me/toy"
    card = hub.files(REPO)["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\ntags:\n- photos\n- seit\n- image-tokens\n")
    assert "recognisable images" in card


def test_what_cannot_be_pushed_ends_in_one_line(hub, push, call, tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    assert "nothing: is not a token data set" in push(tmp_path / "nothing")
    assert "is a URL, and a place on this machine is needed" in push("hf://datasets/me/toy")
    hub.repositories[REPO] = hub_server.Repository(private=False)
    file = stores.file_of(path, "val")
    file.unlink()
    assert f"{file.name}: is damaged or missing" in push(path)
    assert len(hub.repositories[REPO].commits) == 1
    program = PUSH.replace("hf://datasets/me/toy", "hf://datasets/no repository")
    assert "refused: no repository: the hub refuses (" in call(program, stores.make(tmp_path / "whole")[0], "{}")
