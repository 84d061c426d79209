"""Hub ids: from a cache made here, without a network, and from a server that logs what is asked of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import by_rule
import pytest
import torch

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.hub import is_hub_id

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

SHA = "0123456789abcdef0123456789abcdef01234567"
OLDER = "fedcba9876543210fedcba9876543210fedcba98"
VIEW = {"size": 16, "resize": "squash", "interpolation": "bicubic"}


def written(path: Path, seed: int) -> str:
    """Writes a small tokenizer; returns its identity."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = ConvTokenizer(4, 8, 4, (8, 8), (1, 1), preprocessing=VIEW, name="tiny")
    tokenizers.save(tokenizer, path, {})
    return tokenizer.identity()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def cached(cache: Path, repo: str, revision: str, commit: str) -> Path:
    """Returns the folder of a commit in the cache, with a branch or tag that points to it."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_cached_repository_opens_offline_and_its_name_is_pinned(cache: Path) -> None:
    identity = written(cached(cache, "me/tiny", "main", SHA) / "model.safetensors", 0)
    tokenizer = tokenizers.load("me/tiny")
    assert tokenizer.identity() == identity
    assert tokenizer.name == f"me/tiny@{SHA}"
    assert tokenizers.load(tokenizer.name).identity() == identity


def test_a_revision_is_the_one_that_is_named(cache: Path) -> None:
    new = written(cached(cache, "me/tiny", "main", SHA) / "model.safetensors", 0)
    old = written(cached(cache, "me/tiny", "v1", OLDER) / "model.safetensors", 1)
    assert new != old
    assert tokenizers.load("me/tiny@v1").identity() == old
    assert tokenizers.load(f"me/tiny@{SHA}").identity() == new


def test_several_weights_must_be_told_apart(cache: Path) -> None:
    folder = cached(cache, "me/many", "main", SHA)
    one, two = written(folder / "one.safetensors", 1), written(folder / "sub" / "two.safetensors", 2)
    with pytest.raises(TokenizerError, match=r"2 files of weights: one\.safetensors, sub/two\.safetensors"):
        tokenizers.load("me/many")
    assert tokenizers.load("me/many/one.safetensors").identity() == one
    two_loaded = tokenizers.load(f"me/many/sub/two.safetensors@{SHA}")
    assert (two_loaded.identity(), two_loaded.name) == (two, f"me/many/sub/two.safetensors@{SHA}")
    with pytest.raises(TokenizerError, match=r"no file three\.pt"):
        tokenizers.load("me/many/three.pt")


def test_a_repository_with_one_original_checkpoint_opens_by_its_name(cache: Path) -> None:
    folder = cached(cache, "them/vqgan", "main", SHA)
    golden, _ = by_rule.original_file("toy-vitvq", folder)
    tokenizer = tokenizers.load("them/vqgan")
    assert (tokenizer.name, tokenizer.vocabulary) == (f"them/vqgan@{SHA}", golden["config"]["quantizer"]["n_embed"])


def test_what_is_not_in_the_cache_says_so(cache: Path) -> None:
    with pytest.raises(TokenizerError, match=r"me/absent: is not in the cache"):
        tokenizers.load("me/absent")


def test_download_false_stays_offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    with pytest.raises(TokenizerError, match="not in the cache"):
        tokenizers.load("me/absent", download=False)
    identity = written(cached(cache, "me/tiny", "main", SHA) / "model.safetensors", 0)
    assert tokenizers.load("me/tiny", download=False).identity() == identity


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("owner/name", True),
        ("owner/name@v1.0", True),
        ("owner/na.me/folder/x.pt@main", True),
        ("patch8", False),
        ("out/mine.safetensors", False),
        ("./owner/name", False),
        ("../name", False),
        ("/abs/name", False),
        ("owner/../name", False),
        ("https://host/x.ckpt", False),
    ],
)
def test_a_hub_id_is_told_from_a_path(name: str, is_one: bool) -> None:
    assert is_hub_id(name) == is_one


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as one download asks for."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        kind, data = "application/json", b""
        if path in (
            "/api/models/me/tiny",
            "/api/models/me/tiny/revision/v1",
            f"/api/models/me/tiny/revision/{SHA}",
        ):
            siblings = [{"rfilename": name} for name in self.files]
            data = json.dumps({"id": "me/tiny", "modelId": "me/tiny", "sha": SHA, "siblings": siblings}).encode()
        elif path == f"/api/models/me/tiny/tree/{SHA}":
            data = json.dumps(
                [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in self.files.items()]
            ).encode()
        elif path.startswith("/me/tiny/resolve/") and (name := path.split("/", 5)[5]) in self.files:
            kind, data = "application/octet-stream", self.files[name]
            if body:
                self.asked.append(name)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A hub with one repository: a tokenizer, a configuration, and a large file that nobody named."""
    written(tmp_path / "model.safetensors", 5)
    Hub.asked = []
    Hub.files = {
        "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
        "config.json": b"{}",
        "optimizer.pt": bytes(1000),
        "run_me.py": b"raise SystemExit",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_only_what_was_named_is_downloaded_and_then_nothing(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    program = "import sys; from seit import tokenizers as t; x = t.load(sys.argv[1]); print(x.name, x.identity())"
    surroundings = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }

    def opened(name: str, **more: str) -> str:
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(command, env=surroundings | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    first = opened("me/tiny@v1")
    assert first.split() == [f"me/tiny@{SHA}", tokenizers.load(tmp_path / "model.safetensors").identity()]
    assert sorted(set(Hub.asked)) == ["config.json", "model.safetensors"]
    Hub.asked.clear()
    assert opened("me/tiny@v1") == first
    assert Hub.asked == []
    server.shutdown()
    assert opened(f"me/tiny@{SHA}", HF_HUB_OFFLINE="1") == first
