"""However the job is run, disturbed or divided, it ends with the same bytes, and leaves out only what it names."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from drawn import picture
from PIL import Image
from tokenizing_stores import AS_SHAPES, content

import seit
from seit import tokenizers
from seit.errors import BusyError, ImageError, SeitError, StoreError
from seit.images import Preparation, Views, open_source
from seit.store import TokenDataset
from seit.tokenizing import decoders
from seit.tokenizing.ranks import Rank, working
from seit.verbs import tokenize as job

SQUASH = {"size": 32, "resize": "squash", "interpolation": "bicubic"}


def test_decode_processes_give_what_threads_give_also_when_one_is_killed(
    shapes, undisturbed, tmp_path, monkeypatch
):
    started, ask = [], decoders.Decoders._ask

    def killing(self, slot, first, images):
        started.append(self._started[0].process.pid)
        if len(started) == 3:
            os.kill(started[-1], signal.SIGKILL)
        return ask(self, slot, first, images)

    monkeypatch.setattr(decoders.Decoders, "_ask", killing)
    seit.tokenize(shapes, tmp_path / "out", workers=2, **AS_SHAPES)
    assert len(started) > 3
    assert content(tmp_path / "out") == content(undisturbed)


def test_ranks_of_torchrun_share_the_shards_and_the_last_commits(shapes, undisturbed, tmp_path, monkeypatch):
    said = []
    for rank in (2, 0, 1):
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert not (tmp_path / "out").exists()
        said.append(seit.tokenize(shapes, tmp_path / "out", **AS_SHAPES))
    assert said[:2] == [{"rank": 2, "shards": 2}, {"rank": 0, "shards": 2}]
    assert said[2]["images"] == 84
    assert content(tmp_path / "out") == content(undisturbed)
    assert not (tmp_path / "out.partial").exists()


def test_ranks_that_contradict_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(SeitError, match="torchrun"):
        Rank.of_environment()


@pytest.fixture
def interrupted(shapes, tmp_path, monkeypatch) -> Path:
    """OUT of a job that ended after its second shard."""
    write, written = job.TokenWriter.write, []

    def failing(self, *arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments[0])
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(job.TokenWriter, "write", failing)
        with pytest.raises(KeyboardInterrupt):
            seit.tokenize(shapes, tmp_path / "out", **AS_SHAPES)
    return tmp_path / "out"


def test_going_on_lists_nothing_again_and_encodes_nothing_again(shapes, undisturbed, interrupted, monkeypatch):
    monkeypatch.setattr(job, "open_source", lambda *a, **k: pytest.fail("lists the source again"))
    seen, start = [], job.Encoder.start
    monkeypatch.setattr(job.Encoder, "start", lambda self, views: seen.append(len(views)) or start(self, views))
    seit.tokenize(shapes, interrupted, **AS_SHAPES)
    assert seen == [8] * 7  # 60 and 24 images are 4 and 2 shards; 2 are there, 28 and 24 images are 4 and 3 batches
    assert content(interrupted) == content(undisturbed)


def test_other_options_do_not_go_on_with_it(shapes, interrupted):
    with pytest.raises(StoreError, match="the beginning of another data set"):
        seit.tokenize(shapes, interrupted, views="flip", **AS_SHAPES)


def test_a_second_job_on_one_out_is_refused_while_the_first_runs(shapes, interrupted, monkeypatch):
    with working(interrupted.with_name("out.partial"), Rank()):
        with pytest.raises(BusyError, match=r"out\.partial: is being written by another process; wait"):
            seit.tokenize(shapes, interrupted, **AS_SHAPES)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("LOCAL_RANK", "1")
        with pytest.raises(BusyError, match="is being written by another process"):
            seit.tokenize(shapes, interrupted, **AS_SHAPES)
    assert len(list(interrupted.with_name("out.partial").glob("part-*"))) == 2


def test_a_full_disk_keeps_what_is_finished(shapes, undisturbed, tmp_path):
    """A limit on the size of files stands for the disk: the fourth file of the job does not fit."""
    out = tmp_path / "out"
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    placed, replace = [], os.replace

    def counted(source, target):
        replace(source, target)
        placed.append(target)
        if len(placed) == 4:  # plan, listing, two shards
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, whole[1]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", counted)
        try:
            with pytest.raises(StoreError, match=r"cannot be written: .*finished shards are kept"):
                seit.tokenize(shapes, out, **AS_SHAPES)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    assert len(list((tmp_path / "out.partial").glob("part-*"))) == 2
    seit.tokenize(shapes, out, **AS_SHAPES)
    assert content(out) == content(undisturbed)


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def bomb():
    """A PNG that claims 60,000 x 60,000 pixels in 70 bytes."""
    chunks = [(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


def zoo(folder):
    """Writes odd pictures that a browser shows, and bad ones; returns the good ones as a browser shows them."""
    shape = picture("square", 5)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    transparent = shape.convert("RGBA")
    transparent.putalpha(0)
    sixteen = Image.fromarray(np.full((9, 7), 0x8080, np.uint16))
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    good = {
        "alpha.png": (encoded(transparent, "PNG"), Image.new("RGB", (40, 40), "white")),
        "animated.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), frames[0]),
        "one.png": (encoded(Image.new("RGB", (1, 1), (7, 8, 9)), "PNG"), Image.new("RGB", (1, 1), (7, 8, 9))),
        "palette.png": (encoded(shape.quantize(16), "PNG"), shape.quantize(16).convert("RGB")),
        "png-called.jpg": (encoded(shape, "PNG"), shape),
        "sixteen.png": (encoded(sixteen, "PNG"), Image.new("RGB", (7, 9), (128, 128, 128))),
        "turned.png": (encoded(shape, "PNG", exif=exif), shape.transpose(Image.Transpose.ROTATE_270)),
        "cmyk.jpg": (encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100), None),
    }
    bad = {
        "bomb.png": (bomb(), "too many pixels"),
        "cut.jpg": (encoded(shape, "JPEG")[:400], "cannot be decoded"),
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"<html>404</html>", "not a picture"),
    }
    for name, (data, _) in {**good, **bad}.items():
        (folder / name).write_bytes(data)
    return good, bad


def test_odd_images_are_shown_as_a_browser_shows_them_and_bad_ones_reported(tmp_path):
    (tmp_path / "zoo").mkdir()
    good, bad = zoo(tmp_path / "zoo")
    made = seit.tokenize(tmp_path / "zoo", tmp_path / "out", on_error="skip", **AS_SHAPES)
    data, tokenizer = TokenDataset(tmp_path / "out"), tokenizers.load("patch4")
    assert data.names(np.arange(len(data))) == sorted(good)
    assert made["source"]["quarantined"] == 4
    cyan = np.array(Image.open(tmp_path / "zoo" / "cmyk.jpg").convert("RGB"))
    assert np.abs(cyan.astype(int) - [0, 255, 255]).max() <= 2  # Pillow's way, checked to be cyan
    for row, name in enumerate(sorted(good)):
        shown = good[name][1] or Image.fromarray(cyan)
        view = np.array(shown.resize((32, 32), Image.Resampling.BICUBIC))
        with torch.inference_mode():
            ids = tokenizer.encode(torch.from_numpy(view).permute(2, 0, 1)[None] / 255)[0].numpy()
        assert (data.tokenizer_ids([row])[0] == ids).mean() > 0.98, name  # another shape of batch moves a near tie
    lines = [json.loads(line) for line in (tmp_path / "out.quarantine.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == sorted(bad)
    for line in lines:
        data, reason = bad[line["name"]]
        assert reason in line["reason"]
        assert line["bytes"] == len(data)
        assert line["hash"] == f"{xxhash.xxh3_64_intdigest(data):016x}"


@pytest.fixture
def with_bad(shapes, tmp_path) -> Path:
    """The shapes with three pictures cut off, in two shards."""
    folder = shutil.copytree(shapes, tmp_path / "bad")
    for name in ("train/circle/03.jpg", "train/circle/04.jpg", "val/square/02.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    return folder


def test_a_bad_image_moves_no_other_and_is_left_out_of_names_labels_and_ids_alike(with_bad, undisturbed, tmp_path):
    seit.tokenize(with_bad, tmp_path / "out", on_error="limit", max_bad=3, **AS_SHAPES)
    found, whole = TokenDataset(tmp_path / "out"), TokenDataset(undisturbed)
    names, all_names = found.names(np.arange(len(found))), whole.names(np.arange(len(whole)))
    kept = [i for i, name in enumerate(all_names) if name in names]
    assert len(found) == 81
    assert names == [all_names[i] for i in kept]
    assert (found.tokenizer_ids(np.arange(81)) == whole.tokenizer_ids(kept)).all()
    assert (found.labels == whole.labels[kept]).all()
    assert found.splits == {"train": 58, "val": 23}


@pytest.mark.parametrize(
    ("options", "named"), [({}, "circle/03.jpg"), ({"on_error": "limit", "max_bad": 2}, "02.jpg")]
)
def test_more_bad_images_than_are_borne_end_the_job_and_one_can_go_on(with_bad, options, named, tmp_path):
    with pytest.raises(ImageError, match=f"{named}.*--on-error skip"):
        seit.tokenize(with_bad, tmp_path / "out", **options, **AS_SHAPES)
    assert not (tmp_path / "out").exists()
    made = seit.tokenize(with_bad, tmp_path / "out", on_error="skip", **AS_SHAPES)
    assert (made["images"], made["source"]["quarantined"]) == (81, 3)


def test_images_that_are_all_bad_are_an_error_also_when_they_are_skipped(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match="none of 1 images can be read"):
        seit.tokenize(tmp_path / "bad", tmp_path / "out", on_error="skip", **AS_SHAPES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_error": "ignore"}, "'ignore'"),
        ({"on_error": "limit"}, "--max-bad"),
        ({"max_bad": 3}, "--on-error limit"),
        ({"engine": "spark"}, "'spark'"),
        ({"precision": "float16"}, "'float16'"),
        ({"views": "crops:0"}, "'crops:0'"),
        ({"views": "crops:9999"}, "1024 views"),
        ({"views": "listed"}, "boxes"),
        ({"resize": "squish"}, "'squish'"),
        ({"classes": "names.txt"}, "names.txt"),
    ],
)
def test_wrong_options_are_refused_by_name_before_anything_is_written(options, said, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SeitError, match=said):
        seit.tokenize(shapes, tmp_path / "out", **AS_SHAPES, **options)
    assert not list(tmp_path.iterdir())


def test_small_images_that_are_enlarged_bring_a_hint(unlabelled, cli, tmp_path):
    ended = cli("tokenize", unlabelled, tmp_path / "out", "--tokenizer", "patch8", "--size", "128", "--quiet")
    assert "hint: these images measure about 40 pixels and were enlarged to 128" in ended.out
    assert "--tokenizer patch4 --size 40" in ended.out
    assert "hint" not in seit.tokenize(unlabelled, tmp_path / "small", **AS_SHAPES)


def test_provenance_names_what_can_change_an_id(undisturbed):
    found = TokenDataset(undisturbed).tokenizer["provenance"]
    assert found["threads"] == str(torch.get_num_threads())
    assert found["torch"] == torch.__version__
    assert {"device", "precision", "pillow", "processor", "batch", "compiled"} <= found.keys()


def test_an_image_that_kills_its_decoder_is_bad_and_its_neighbours_are_not(shapes, monkeypatch):
    """A kill stands for a picture that breaks its decoder, each time that it is tried."""
    images = list(open_source(shapes))[:5]
    broken = images[2].name
    ask = decoders.Decoders._ask

    def dying(self, slot, first, chunk):
        if any(image.name == broken for image in chunk):
            self._started[-1].process.kill()
            self._started[-1].process.wait()
        return ask(self, slot, first, chunk)

    monkeypatch.setattr(decoders.Decoders, "_ask", dying)
    with decoders.Decoders(Preparation(SQUASH, Views()), 5, 1) as made:
        views, found = next(made.batches([images]))
    assert [getattr(one, "reason", "") for one in found] == ["", "", found[2].reason, "", ""]
    assert "ends the process" in found[2].reason
    assert not views[2].any()
    assert views[3].any()


def test_decode_processes_end_with_a_parent_that_is_killed(shapes):
    program = f"""
import sys, time
from seit.images import Preparation, Views, open_source
from seit.tokenizing.decoders import Decoders
with Decoders(Preparation({SQUASH!r}, Views()), 4, 2) as made:
    next(made.batches([list(open_source({str(shapes)!r}))[:4]]))
    print(*(process.process.pid for process in made._started), flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    end = time.monotonic() + 20
    while any(running(pid) for pid in pids):
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)


def running(pid: int) -> bool:
    """Whether a process is there and no zombie that its new parent has not fetched yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
