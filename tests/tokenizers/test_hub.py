"""Hub ids: from a cache made here, without a network, and from a server that logs what is asked of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import by_rule
import hub_server
import pytest
import torch

from seit import tokenizers
from seit.errors import TokenizerError
from seit.tokenizers.conv import ConvTokenizer
from seit.tokenizers.hub import is_hub_id
from seit.verbs.convert_tokenizer import convert_tokenizer

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


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[hub_server.Hub]:
    """A hub with one repository: a tokenizer, a configuration, and a large file that nobody named."""
    written(tmp_path / "model.safetensors", 5)
    server = hub_server.Hub()
    server.repositories["models/me/tiny"] = hub_server.Repository(private=False)
    server.repositories["models/me/tiny"].commit(
        {
            "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
            "config.json": b"{}",
            "optimizer.pt": bytes(1000),
            "run_me.py": b"raise SystemExit",
        }
    )
    yield server
    server.close()


@pytest.fixture
def call(hub: hub_server.Hub, tmp_path: Path) -> Callable[..., str]:
    """Runs a program whose hub is ours; returns what it prints."""
    surroundings = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_nobodys",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }

    def run(program: str, *arguments: object, **more: str) -> str:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, env=surroundings | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


LOAD = "import sys; from seit import tokenizers as t; x = t.load(sys.argv[1]); print(x.name, x.identity())"
PUSH = """
import sys
from seit.errors import SeitError
from seit.verbs.convert_tokenizer import push_to_hub
try:
    print(push_to_hub(sys.argv[1], "me/mine", overwrite="--overwrite" in sys.argv))
except SeitError as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.slow
def test_only_what_was_named_is_downloaded_and_then_nothing(
    hub: hub_server.Hub, call: Callable[..., str], tmp_path: Path
) -> None:
    head = hub.repositories["models/me/tiny"].head
    first = call(LOAD, f"me/tiny@{head}")
    assert first.split() == [f"me/tiny@{head}", tokenizers.load(tmp_path / "model.safetensors").identity()]
    downloaded = {asked.rpartition("/")[2] for asked in hub.asked if "GET" in asked and "/resolve/" in asked}
    assert downloaded == {"config.json", "model.safetensors"}
    hub.asked.clear()
    assert call(LOAD, f"me/tiny@{head}") == first
    assert not [asked for asked in hub.asked if "GET" in asked and "/resolve/" in asked]
    hub.close()
    assert call(LOAD, f"me/tiny@{head}", HF_HUB_OFFLINE="1") == first


@pytest.mark.slow
def test_a_pushed_tokenizer_is_private_and_replaces_nothing_unasked(
    hub: hub_server.Hub, call: Callable[..., str], tmp_path: Path
) -> None:
    identities = [written(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    for seed in (1, 2):
        convert_tokenizer(tmp_path / f"{seed}.safetensors", tmp_path / f"mine-{seed}")
    assert "/commit/" in call(PUSH, tmp_path / "mine-1")
    mine = hub.repositories["models/me/mine"]
    assert mine.private
    assert set(mine.at("main")[1]) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert len(mine.commits) == 2
    assert call(LOAD, "me/mine").split() == [f"me/mine@{mine.head}", identities[0]]
    refused = "TokenizerError: me/mine: already holds another model; --overwrite replaces it"
    assert call(PUSH, tmp_path / "mine-2").startswith(refused)
    mine.commit({"README.md": b"# By hand\n"})
    assert "holds a README.md that seit did not write" in call(PUSH, tmp_path / "mine-1")
    assert "/commit/" in call(PUSH, tmp_path / "mine-2", "--overwrite")
    assert call(LOAD, "me/mine").split() == [f"me/mine@{mine.head}", identities[1]]
    (tmp_path / "mine-1" / "README.md").unlink()
    assert "has no README.md" in call(PUSH, tmp_path / "mine-1")
