"""One reader and writer of run folders: what it finds, what it refuses, and that nobody else knows its names."""

import ast
import json
import multiprocessing
from pathlib import Path

import pytest

from seit.errors import BusyError, RunError
from seit.run import Run, runs_below, untimed

SRC = Path(__file__).parents[2] / "src" / "seit"
ABOUT = {"recipe": {"epochs": 3}, "classes": ["a"], "preprocessing": {}}


def begun(path):
    path.mkdir(parents=True)
    run = Run(path)
    run.begin(ABOUT)
    return run


def test_a_run_is_what_began_and_finished_is_what_has_a_result(tmp_path):
    run = Run(tmp_path / "run")
    assert not run.exists()
    run.check_free()
    run = begun(run.path)
    run.check_free()
    assert run.about() == {"schema": 1} | ABOUT
    assert run.result() is None
    with pytest.raises(RunError, match="is not finished; run the same `seit train` again"):
        run.finished()
    run.finish({"top1": 0.5})
    assert run.result() == {"top1": 0.5}
    assert run.finished() == run.about()
    run.begin(ABOUT | {"classes": ["other"]})  # what stands there stays
    assert run.about()["classes"] == ["a"]


def test_an_extension_is_recorded_and_unfinishes(tmp_path):
    run = begun(tmp_path / "run")
    run.finish({})
    run.extend({"epochs": 5}, {"epochs": [3, 5]})
    assert run.result() is None
    assert run.about()["recipe"] == {"epochs": 5}
    run.extend({"epochs": 9}, {"epochs": [5, 9]})
    assert [one["epochs"] for one in run.about()["extended"]] == [[3, 5], [5, 9]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ('{"recipe": {}}', "lacks classes, preprocessing; train again"),
        (json.dumps(ABOUT | {"schema": 2}), "has schema 2, and this version reads 1; upgrade seit"),
    ],
)
def test_a_damaged_run_is_refused_by_name(text, said, tmp_path):
    run = begun(tmp_path / "run")
    (run.path / "run.json").write_text(text)
    with pytest.raises(RunError, match=said) as caught:
        run.about()
    assert "run.json" in str(caught.value)


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Sir")
    for place in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(RunError, match="exists and is not a run; choose another --out"):
            Run(place).check_free()
    half = tmp_path / "half"
    half.mkdir()
    for name in (".lock", ".run.json.123.tmp"):  # what a killed call may leave
        (half / name).touch()
    Run(half).check_free()


def test_runs_are_found_below_a_folder_in_order(tmp_path):
    for name in ("b", "a/deep", "c"):
        begun(tmp_path / name)
    assert [str(run) for run in runs_below(tmp_path)] == [str(tmp_path / name) for name in ("a/deep", "b", "c")]
    assert [run.path for run in runs_below(tmp_path / "b")] == [tmp_path / "b"]
    with pytest.raises(RunError, match="nowhere: holds no run"):
        runs_below(tmp_path / "nowhere")


def test_lines_are_kept_by_kind_and_a_cut_one_is_left_out(tmp_path):
    run = begun(tmp_path / "run")
    assert run.lines() == []
    for step in (1, 2, 3):
        run.append({"kind": "step", "step": step, "seconds": 9.0})
    run.append({"step": 3, "loss": 0.5})  # an early version's, which had lines of epochs alone
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert run.lines() == [{"kind": "epoch", "step": 3, "loss": 0.5}]
    assert [untimed(line) for line in run.lines("step")] == [{"kind": "step", "step": step} for step in (1, 2, 3)]
    kept = run.keep_lines(lambda line: line["step"] < 3)
    assert kept == run.lines("step")
    assert run.lines() == []


def _hold(path, held, done):
    with Run(path).held():
        held.set()
        done.wait(60)


def test_a_run_is_held_by_one_process(tmp_path):
    processes = multiprocessing.get_context("spawn")
    held, done = processes.Event(), processes.Event()
    other = processes.Process(target=_hold, args=(tmp_path / "run", held, done))
    other.start()
    assert held.wait(60)
    try:
        with (
            pytest.raises(BusyError, match="run: is being written by another process"),
            Run(tmp_path / "run").held(),
        ):
            pass
    finally:
        done.set()
        other.join()
    with Run(tmp_path / "run").held():
        pass


NAMES = {"run.json", "result.json", "metrics.jsonl", "checkpoints", "tokenizer.safetensors"}


def texts(path):
    """Returns the strings of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in statements)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_nobody_else_knows_the_names_of_its_files():
    paths = [path for path in SRC.rglob("*.py") if path.parent.name != "run"]
    knowing = {str(path.relative_to(SRC)): texts(path) & NAMES for path in paths if texts(path) & NAMES}
    assert knowing == {"verbs/demo.py": {"result.json"}}  # the demo's own
