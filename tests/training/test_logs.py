"""What a training tells while it runs: the line, the file, and trackers read back by their own libraries."""

import json
import re
import struct
import sys
import time

import pytest

from seit.errors import RunError
from seit.run import Run
from seit.training.logs import Log


def told(folder, done, until, to=(), ended=None):
    """Tells of the steps after `done` up to `until`, 5 to an epoch, each of 8 rows, 10 ms and 2 of them waiting."""
    with Log(Run(folder), {"seed": 3}, 20, 5, 8, done, done if ended is None else ended, to) as log:
        for step in range(done + 1, until + 1):
            time.sleep(0.01)
            log.step(step, 2.0 / step, 0.002)
            if step % 4 == 0:
                log.line("step", step, {"loss": 3.0 / step, "gradient_norm": 1.5})
            if step % 5 == 0:
                time.sleep(0.05)  # an evaluation
                log.line("epoch", step, {"loss": 2.0 / step, "learning_rate": 0.1, "top1": step / 100})
                log.rest()
    return log


def lines_of(folder, kind="epoch"):
    return Run(folder).lines(kind)


def test_a_line_an_epoch_with_the_speed_of_its_steps_alone(tmp_path):
    log = told(tmp_path, 0, 20)
    lines = lines_of(tmp_path)
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["top1"] for line in lines] == [0.05, 0.1, 0.15, 0.2]
    assert log.waited == pytest.approx(0.04)
    for line in lines:
        assert line["images_per_second"] <= 800
        # 5 steps wait 10 ms together, whatever else they take; the evaluation's 50 ms are not among it
        assert line["data_wait_share"] == pytest.approx(0.01 / (40 / line["images_per_second"]), rel=1e-2)
    assert max(line["images_per_second"] for line in lines) > 40 / (0.05 + 0.05)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 0.4


def test_a_line_every_few_steps_with_speed_and_memory(tmp_path):
    told(tmp_path, 0, 20)
    lines = lines_of(tmp_path, "step")
    assert [line["step"] for line in lines] == [4, 8, 12, 16, 20]
    assert [line["epoch"] for line in lines] == [0.8, 1.6, 2.4, 3.2, 4]
    assert all(line["gradient_norm"] == 1.5 for line in lines)
    for line in lines:  # the evaluations between them are not counted
        assert 32 / 0.06 < line["images_per_second"] <= 800
        assert 10 < line["memory_mb"] < 100_000


def test_a_training_that_goes_on_takes_back_what_its_checkpoint_does_not_know_and_counts_its_seconds(tmp_path):
    told(tmp_path, 0, 12)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 15, "epoch": 3.0, "seco')
    told(tmp_path, 5, 20)
    lines = lines_of(tmp_path)
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert lines[1]["seconds"] > lines[0]["seconds"]
    assert [line["step"] for line in lines_of(tmp_path, "step")] == [4, 8, 12, 16, 20]


def test_an_epoch_whose_steps_are_kept_but_not_its_evaluation_gets_its_line_once(tmp_path):
    told(tmp_path, 0, 12)
    with Log(Run(tmp_path), {}, 20, 5, 8, done=10, ended=5) as log:
        log.line("epoch", 10, {"loss": 0.5})
    assert [line["step"] for line in lines_of(tmp_path)] == [5, 10]
    assert lines_of(tmp_path)[1]["loss"] == 0.5
    assert [line["step"] for line in lines_of(tmp_path, "step")] == [4, 8]


def test_the_line_on_the_screen_says_how_it_stands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("seit.progress._PLAIN_SECONDS", 0.0)
    told(tmp_path, 0, 10)
    shown = capsys.readouterr().err.splitlines()
    pattern = r"train: 7/20 steps, [\d.]+/s, \d+ s left, epoch 1.4, loss 0.286, top-1 5.0%, \d+ images/s, "
    assert re.match(pattern + r"[\d.]+% waiting for data$", shown[6])
    assert "top-1" not in shown[0]


def test_tensorboard_reads_back_every_value_once_also_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(tmp_path, 0, 12, ["tensorboard"])
    told(tmp_path, 5, 20, ["tensorboard"])
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    lines, steps = lines_of(tmp_path), lines_of(tmp_path, "step")
    names = (lines[0].keys() | {f"step/{name}" for name in steps[0]}) - {"kind", "step/kind"}
    assert set(found.Tags()["scalars"]) == names
    for name in ("loss", "top1", "learning_rate", "images_per_second", "data_wait_share"):
        events = found.Scalars(name)
        assert [event.step for event in events] == [5, 10, 15, 20]
        assert [event.value for event in events] == pytest.approx([line[name] for line in lines], rel=1e-6)
    losses = [event.value for event in found.Scalars("step/loss")]
    assert losses == pytest.approx([line["loss"] for line in steps], rel=1e-6)


def records_of(log):
    """Yields the records of a LevelDB log behind 7 bytes of W&B's own: blocks of 32 KiB, heads of 7 bytes."""
    at, whole = 7, b""
    while at + 7 <= len(log):
        if 32768 - at % 32768 < 7:  # no head fits: the block is padded
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", log, at + 4)
        whole += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def test_weights_and_biases_gets_the_same_lines_and_the_recipe(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    told(tmp_path, 0, 10, ["wandb"])
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows, config, deadline = [], {}, time.monotonic() + 60
    while len(rows) < 4 and time.monotonic() < deadline:  # W&B's own process writes after `finish` has returned
        time.sleep(0.2)
        rows = []
        for data in records_of(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
            if record.WhichOneof("record_type") == "run":
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    for kind, prefix in (("epoch", ""), ("step", "step/")):
        lines = [{prefix + key: value for key, value in line.items()} for line in lines_of(tmp_path, kind)]
        wanted = [{key: value for key, value in line.items() if key != f"{prefix}kind"} for line in lines]
        theirs = [row for row in rows if f"{prefix}loss" in row]
        assert [{key: row[key] for key in line} for row, line in zip(theirs, wanted, strict=True)] == wanted
    assert config["seed"] == 3


def test_an_unknown_tracker_is_refused_by_name(tmp_path):
    with pytest.raises(RunError, match=r"no tracker 'tensorbord'.*did you mean 'tensorboard'"):
        Log(Run(tmp_path), {}, 20, 5, 8, to=["tensorbord"])


def test_a_tracker_that_is_not_installed_names_its_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RunError, match=r"--log wandb.*pip install 'seit\[wandb\]'"):
        Log(Run(tmp_path), {}, 20, 5, 8, to=["wandb"])
