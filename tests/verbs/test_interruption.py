"""Killed and interrupted anywhere, a second call ends with what an undisturbed one gives, bit for bit.

The children are forked from a server that has imported torch and computed nothing, so each costs a fork. They end
themselves at a chosen moment (a step, or the n-th file put in its place), by the same signals as a user's.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from drawn import draw_shapes

import seit
from seit.run import Run, untimed
from seit.store import TokenDataset
from seit.training.state import checkpoints

SERVER = multiprocessing.get_context("forkserver")
SETTINGS = {"epochs": "4", "batch_size": "16", "cutmix.probability": "0.5", "drop_path": "0.2", "learned": "true"}
LIMIT = 120
# Imported once by the server: also what numba and the hub import late, or every child would spend a second on it.
PRELOADED = ["seit.verbs.train", "seit.verbs.tokenize", "seit.cli", "numba.cpython.unicode", "numba.np.arraymath"]
PRELOADED += ["numba.np.linalg", "scipy.linalg", "huggingface_hub.hub_mixin", "huggingface_hub.repocard"]


def _ends(count: int, number: int, name: str = "") -> None:
    """Ends this process by a signal when the `count`-th file whose path has `name` in it is put in its place."""
    replace, done = os.replace, []

    def counted(source, target):
        done.extend([target] if name in str(target) else [])
        if len(done) == count and name in str(target):
            os.kill(os.getpid(), number)
        replace(source, target)

    os.replace = counted


def _ends_at_step(step: int, number: int) -> None:
    """Sends this process a signal when step number `step` begins."""
    from seit.training import loop

    make = loop.update

    def counted(state, *others):
        if state.step == step:
            signal.raise_signal(number)
        return make(state, *others)

    loop.update = counted


def _ends_in_evaluation(count: int, number: int) -> None:
    from seit.evaluation import Accuracy

    measure, calls = Accuracy.__call__, []

    def counted(self, model):
        calls.append(1)
        if len(calls) == count:
            signal.raise_signal(number)
        yield from measure(self, model)

    Accuracy.__call__ = counted


def _ends_at_batch(count: int, number: int) -> None:
    from seit.tokenizing import encoding, plan

    start, done = encoding.Encoder.start, []

    def counted(self, views):
        done.append(views)
        if len(done) == count:
            signal.raise_signal(number)
        return start(self, views)

    encoding.Encoder.start = counted
    plan.BATCH_PIXELS = 32 * 32 * 8  # small batches and shards, so that there is a middle
    plan.SHARD_ROWS = 16


MOMENTS = {"file": _ends, "step": _ends_at_step, "evaluation": _ends_in_evaluation, "batch": _ends_at_batch}
Moment = tuple[str, int, int] | tuple[str, int, int, str]


def _child(arguments: list[str], moment: Moment | None, log: str, keeps: bool) -> None:
    """Runs one command in a forked process, to end at `moment`: (what, number of it, signal).

    Where `keeps`, it writes a checkpoint after every step.
    """
    import torch

    import seit.cli
    from seit.training import state

    if keeps:
        state.SOONEST, state.SHARE = 0.0, 1.0
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stderr = open(log, "w")  # noqa: SIM115
    _ends_at_batch(0, 0)
    if moment is not None:
        MOMENTS[moment[0]](*moment[1:])
    sys.argv = ["seit", *arguments]
    seit.cli.main()


def call(arguments: list[object], moment: Moment | None = None, keeps: bool = True) -> tuple[int, str]:
    """Returns the exit code (negative: the signal) and everything that was printed."""
    SERVER.set_forkserver_preload(PRELOADED)
    log = Path(os.environ["PYTEST_LOG"])
    process = SERVER.Process(target=_child, args=([str(a) for a in arguments], moment, str(log), keeps))
    process.start()
    process.join(LIMIT)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode, log.read_text()


@pytest.fixture(autouse=True)
def _log(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_LOG", str(tmp_path / "log.txt"))


def train_command(data: Path, out: Path) -> list[object]:
    settings = [word for pair in SETTINGS.items() for word in ("--set", "=".join(pair))]
    return ["train", data, "--out", out, *settings, "--quiet"]


def tokenize_command(source: Path, out: Path) -> list[object]:
    return ["tokenize", source, out, "--tokenizer", "patch4", "--size", "32", "--quiet"]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """39 training and 9 held-out pictures, and their ids: an odd number of rows, in small parts."""
    folder = tmp_path_factory.mktemp("few")
    draw_shapes(folder / "few", 13, 3)
    seit.tokenize(folder / "few", folder / "few.tokens", tokenizer="patch4", size=32)
    return folder


@pytest.fixture(scope="module")
def undisturbed(few, tmp_path_factory):
    """A run that nobody interrupted: 8 steps in 4 epochs."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    os.environ["PYTEST_LOG"] = str(out.with_name("log.txt"))
    code, printed = call(train_command(few / "few.tokens", out))
    assert code == 0, printed
    return out


def lines_of(path: Path) -> list[dict]:
    """Returns the lines of a run's metrics without what differs from call to call."""
    return [untimed(line) for kind in ("epoch", "step") for line in Run(path).lines(kind)]


def assert_same_run(found: Path, wanted: Path) -> None:
    for name in ("classifier/model.safetensors", "classifier/config.json", "tokenizer.safetensors"):
        assert (found / name).read_bytes() == (wanted / name).read_bytes(), name
    assert lines_of(found) == lines_of(wanted)
    mine, theirs = (Run(run).result() for run in (found, wanted))
    same = ("top1", "best_top1", "best_step", "loss", "held_out_rows", "parameters")
    assert {key: mine[key] for key in same} == {key: theirs[key] for key in same}


FILES = {
    "run.json": 1,
    "best/model": 1,
    "best/config": 1,
    "checkpoints/": 3,
    "metrics": 1,  # of a resumed run
    "tokenizer": 1,
    "classifier/model": 1,
    "classifier/config": 1,
    "loss.png": 1,
    "report.html": 1,
    "result.json": 1,
}


@pytest.mark.parametrize("name", FILES)
def test_a_training_killed_while_it_writes_goes_on_to_the_same_weights(name, few, undisturbed, tmp_path):
    out = tmp_path / "run"
    command = train_command(few / "few.tokens", out)
    if name == "metrics":
        assert call(command, ("step", 3, signal.SIGKILL))[0] == -signal.SIGKILL
    code, _ = call(command, ("file", FILES[name], signal.SIGKILL, name))
    assert code == -signal.SIGKILL
    assert Run(out).result() is None
    with pytest.raises(seit.SeitError, match=r"not a run|not finished"):
        seit.load(out)
    code, printed = call(command)
    assert code == 0, printed
    assert_same_run(out, undisturbed)


def test_a_training_killed_five_times_goes_on_to_the_same_weights(few, undisturbed, tmp_path):
    out = tmp_path / "run"
    command = train_command(few / "few.tokens", out)
    for step in (0, 1, 3, 4, 7):
        assert call(command, ("step", step, signal.SIGKILL))[0] == -signal.SIGKILL
    code, printed = call(command)
    assert code == 0, printed
    assert_same_run(out, undisturbed)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc whether a process has stopped")
def test_a_second_training_of_one_run_is_refused_until_the_first_has_died(few, undisturbed, tmp_path):
    out = tmp_path / "run"
    command = train_command(few / "few.tokens", out)
    stopped = ([str(a) for a in command], ("step", 5, signal.SIGSTOP), str(tmp_path / "first.txt"), True)
    first = SERVER.Process(target=_child, args=stopped)
    first.start()
    try:
        deadline = time.monotonic() + LIMIT
        while Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert first.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = sorted((path.name, path.stat().st_mtime_ns) for path in out.rglob("*"))
        code, printed = call(command)
        assert (code, printed.count("\n")) == (1, 1)
        assert f"{out}: is being written by another process; wait for it" in printed
        after = sorted((path.name, path.stat().st_mtime_ns) for path in out.rglob("*"))
        assert after == before
    finally:
        first.kill()
        first.join()
    code, printed = call(command)
    assert code == 0, printed
    assert_same_run(out, undisturbed)


INTERRUPTED = "seit: interrupted; the same command goes on from here\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_to_end_saves_every_step_and_exits_with_130(number, few, undisturbed, tmp_path):
    out = tmp_path / "run"
    command = train_command(few / "few.tokens", out)
    # Without `keeps` no checkpoint would be due: the one that is there was written because of the signal.
    assert call(command, ("step", 4, number), keeps=False) == (130, INTERRUPTED)
    assert [path.stem for path in checkpoints(Run(out))] == ["000000005"]
    with pytest.raises(seit.SeitError, match="not finished"):
        seit.load(out)
    # In an evaluation it does not wait for the end: the steps are made, and the next call measures them.
    assert call(command, ("evaluation", 1, number), keeps=False) == (130, INTERRUPTED)
    assert [path.stem for path in checkpoints(Run(out))] == ["000000006", "000000005"]
    assert call(command, keeps=False)[0] == 0
    assert_same_run(out, undisturbed)


def test_half_a_line_of_metrics_does_not_stop_a_resumed_training(few, undisturbed, tmp_path):
    out = tmp_path / "run"
    command = train_command(few / "few.tokens", out)
    call(command, ("step", 5, signal.SIGKILL))
    with open(out / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "epo')  # a full disk cuts a line
    code, printed = call(command)
    assert code == 0, printed
    assert_same_run(out, undisturbed)


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    """A token data set that nobody interrupted, staged in shards of 16."""
    out = tmp_path_factory.mktemp("whole") / "few.tokens"
    os.environ["PYTEST_LOG"] = str(out.with_name("log.txt"))
    code, printed = call(tokenize_command(few / "few", out))
    assert code == 0, printed
    return out


def assert_same_store(found: Path, wanted: Path) -> None:
    files = sorted(path.relative_to(wanted) for path in wanted.rglob("*") if path.is_file())
    assert sorted(path.relative_to(found) for path in found.rglob("*") if path.is_file()) == files
    for name in files:
        if name.name != "manifest.json":  # it holds the date and the command
            assert (found / name).read_bytes() == (wanted / name).read_bytes(), name
    mine, theirs = TokenDataset(found), TokenDataset(wanted)
    assert (mine.ids(range(len(mine))) == theirs.ids(range(len(theirs)))).all()
    assert mine.names(range(len(mine))) == theirs.names(range(len(theirs)))
    assert not found.with_name(found.name + ".partial").exists()


# While encoding the 3rd and the 7th batch of 8 (shards are of 16, so the first is whole by the 3rd); while putting
# the plan, a shard, and a file of the finished data set in their places.
DISTURBANCES = [("batch", n, signal.SIGKILL) for n in (3, 7)] + [("file", n, signal.SIGKILL) for n in (1, 4, 6)]
DISTURBANCES += [("batch", 3, signal.SIGINT), ("file", 6, signal.SIGINT)]


@pytest.mark.parametrize("moment", DISTURBANCES, ids=lambda moment: f"{moment[2].name} at {moment[0]} {moment[1]}")
def test_a_disturbed_tokenize_leaves_nothing_and_goes_on_to_the_same_store(moment, few, whole, tmp_path):
    out = tmp_path / "few.tokens"
    command = tokenize_command(few / "few", out)
    code, printed = call(command, moment)
    if moment[2] == signal.SIGINT:
        assert (code, printed) == (130, "seit: interrupted; the same command goes on from here\n")
    else:
        assert code == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(seit.SeitError, match="not a token data set"):
        seit.info(out)
    code, printed = call(command)
    assert code == 0, printed
    assert_same_store(out, whole)


def test_the_shards_of_an_interrupted_call_are_not_encoded_again(few, whole, tmp_path):
    out = tmp_path / "few.tokens"
    command = tokenize_command(few / "few", out)
    call(command, ("batch", 7, signal.SIGKILL))
    staged = {path: path.stat().st_mtime_ns for path in (tmp_path / "few.tokens.partial").glob("part-*")}
    # 39 training pictures in shards of 16, 16 and 7 are 5 batches; 9 held-out ones are 2 more. The ids of a batch
    # are fetched when the next has been started.
    assert len(staged) == 3
    code, printed = call(command, ("batch", 3, signal.SIGKILL))  # it has no third batch to encode
    assert code == 0, printed
    assert_same_store(out, whole)


def test_two_of_a_kind_do_not_mix(few, tmp_path):
    out = tmp_path / "few.tokens"
    call(tokenize_command(few / "few", out), ("batch", 6, signal.SIGKILL))
    other = [*tokenize_command(few / "few", out), "--codec", "zero-order"]
    code, printed = call(other)
    assert code == 1
    assert "few.tokens.partial: holds the beginning of another data set" in printed
    shutil.rmtree(tmp_path / "few.tokens.partial")
    assert call(other)[0] == 0
