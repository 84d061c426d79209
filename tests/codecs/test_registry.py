"""Which code `fit` takes, and codes that other packages bring."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys

import numpy as np
import pytest
from made_codecs import smooth_ids

from seit import codecs
from seit.errors import CodecError

PLAIN = """
import numpy as np
from seit.codecs import Codec

class Plain(Codec):
    "Every id as one word."
    name = "plain"

    @classmethod
    def fit(cls, ids, vocabulary):
        return cls(vocabulary, ids.shape[1:], rows_per_block=3)

    @classmethod
    def load(cls, header, tables):
        return cls(header.vocabulary, header.grid, header.rows_per_block)

    def body(self):
        return b"", b""

    def encode_blocks(self, ids):
        return ids.astype(np.uint16).reshape(-1), np.full(len(ids), ids.shape[1])

    def decode_blocks(self, words, starts, ends, out):
        whole = ends - starts == out.shape[1]
        for i in np.flatnonzero(whole):
            out[i] = np.minimum(words[starts[i] : ends[i]], self.vocabulary - 1)
        return whole
"""


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """An installed package that brings the code `plain`, and one whose entry point leads nowhere."""
    (tmp_path / "plain_codec.py").write_text(PLAIN)
    about = tmp_path / "plain_codec-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-codec\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[seit.codecs]\nplain = plain_codec:Plain\nbroken = no_module:Code\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("plain_codec", None)


def test_another_packages_code_fits_is_named_in_its_bytes_and_loads(plain):
    ids = smooth_ids(8, 5, 5, 40)
    fitted = codecs.fit("plain", ids, 40)
    loaded = codecs.load(fitted.to_bytes())
    assert (loaded.name, loaded.rows_per_block, loaded.grid) == ("plain", 3, (5, 5))
    payload, offsets = fitted.encode(ids)
    np.testing.assert_array_equal(loaded.decode(payload, offsets, np.arange(8)), ids)


def test_a_code_whose_package_is_missing_is_refused_by_its_name(plain, monkeypatch):
    data = codecs.fit("plain", smooth_ids(2, 5, 5, 40), 40).to_bytes()
    monkeypatch.setattr(sys, "path", sys.path[1:])
    importlib.invalidate_caches()
    with pytest.raises(CodecError, match="'plain'"):
        codecs.load(data)


def test_a_broken_entry_point_is_a_clear_error(plain):
    with pytest.raises(CodecError, match=r"broken.*no_module"):
        codecs.fit("broken", smooth_ids(2, 5, 5, 40), 40)


def test_auto_does_not_even_import_torch_for_small_sets():
    code = (
        "import sys, numpy as np; from seit import codecs;"
        "ids = np.random.default_rng(0).integers(0, 30, (300, 8, 8)) // 3;"
        "assert codecs.fit('auto', ids, 512).name != 'learned';"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_auto_goes_on_without_torch_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with caplog.at_level(logging.WARNING):
        fitted = codecs.fit("auto", smooth_ids(300, 8, 8, 64), 64, rows=10_000_000)
    assert fitted.name == "context"
    assert len(caplog.records) == 1


def test_auto_leaves_the_learned_code_to_small_grids(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch", None)
    with caplog.at_level(logging.WARNING):
        codecs.fit("auto", smooth_ids(30, 16, 16, 64), 64, rows=10_000_000)
    assert not caplog.records


@pytest.mark.slow  # half a minute: it fits the learned code
def test_auto_takes_the_learned_code_where_it_saves_bytes():
    ids = smooth_ids(6000, 8, 8, 64)
    ids[:, 2:] = np.where(np.random.default_rng(0).random((6000, 6, 8)) < 0.6, ids[:, :-2], ids[:, 2:])
    assert codecs.fit("auto", ids, 64, rows=1_000_000).name == "learned"
