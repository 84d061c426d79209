"""A run takes its own training again, however that is spelt and whatever version began it, and no other."""

from __future__ import annotations

import json
import shutil

import pytest
from drawn import SETTINGS
from safetensors.torch import load_file
from toys import lines_of

import seit
from seit.errors import RunError
from seit.run import Run
from seit.training import state
from seit.training.stop import Stop
from seit.verbs import train as verb


def edited(run, change):
    """Changes what run.json holds."""
    about = json.loads((run / "run.json").read_text())
    change(about)
    (run / "run.json").write_text(json.dumps(about))


def untouched(run):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")}


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(tokens, tmp_path, monkeypatch):
    out, assemble = tmp_path / "run", verb.assemble

    def slow(*arguments):
        """While this process decodes its data, the one that trains the run ends."""
        monkeypatch.setattr(verb, "assemble", assemble)
        first.append(seit.train(tokens, out, settings=SETTINGS))
        before.append(untouched(out))
        return assemble(*arguments)

    first, before = [], []
    monkeypatch.setattr(verb, "assemble", slow)
    assert seit.train(tokens, out, settings=SETTINGS) == first[0]
    assert untouched(out) == before[0]


def test_data_by_another_path_are_the_same_data(run, tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tokens.parent)
    assert seit.train(tokens.name, run, settings=SETTINGS) == Run(run).result()
    moved = shutil.copytree(tokens, tmp_path / "mounted elsewhere.tokens")
    assert seit.train(moved, run, settings=SETTINGS) == Run(run).result()


def test_other_data_are_refused_by_name(run, shapes, tmp_path):
    other = shutil.copytree(shapes, tmp_path / "shapes", ignore=lambda _, names: {"05.jpg"} & set(names))
    seit.tokenize(other, tmp_path / "other.tokens", tokenizer="patch4", size=32)
    with pytest.raises(RunError, match="holds a run with another data; choose another --out"):
        seit.train(tmp_path / "other.tokens", run, settings=SETTINGS)


def test_a_run_by_another_path_is_the_same_start(run, tokens, tmp_path):
    short = SETTINGS | {"epochs": "1"}
    result = seit.train(tokens, tmp_path / "next", settings=short, from_run=run)
    moved = shutil.copytree(run, tmp_path / "moved")
    assert seit.train(tokens, tmp_path / "next", settings=short, from_run=moved) == result


def test_a_recipe_of_before_an_upgrade_is_the_same_recipe(run, tokens, tmp_path):
    older = shutil.copytree(run, tmp_path / "older")
    edited(older, lambda about: [about["recipe"].pop(name) for name in ("eval_every", "log_every", "micro_batch")])
    assert seit.train(tokens, older, settings=SETTINGS) == Run(run).result()
    with pytest.raises(RunError, match=r"another recipe \(micro_batch\); choose another --out"):
        seit.train(tokens, older, settings=SETTINGS | {"micro_batch": "4"})
    edited(older, lambda about: about["recipe"].update(rotation=3))
    with pytest.raises(RunError, match=r"another recipe \(rotation\)"):
        seit.train(tokens, older, settings=SETTINGS)


def test_a_run_of_a_later_version_is_refused_with_its_cure(run, tokens, tmp_path):
    later = shutil.copytree(run, tmp_path / "later")
    edited(later, lambda about: about.update(schema=99))
    with pytest.raises(RunError, match="has schema 99, and this version reads 1; upgrade seit"):
        seit.train(tokens, later, settings=SETTINGS)


def test_what_differs_is_named(run, tokens):
    settings = SETTINGS | {"seed": "1", "batch_size": "30"}
    with pytest.raises(
        RunError, match=r"holds a run with another recipe \(batch_size, seed\); choose another --out$"
    ):
        seit.train(tokens, run, settings=settings)


LONGER = SETTINGS | {"epochs": "5"}


def test_a_finished_run_goes_on_for_more_epochs_where_asked_and_says_so(run, tokens, tmp_path):
    out = shutil.copytree(run, tmp_path / "run")
    before = load_file(out / "classifier" / "model.safetensors")
    with pytest.raises(RunError, match=r"another recipe \(epochs\); choose another --out, or --extend it"):
        seit.train(tokens, out, settings=LONGER)
    assert Run(out).result() is not None
    result = seit.train(tokens, out, settings=LONGER, extend=True, command="seit train ...")
    lines = Run(out).lines()
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[:3] == Run(run).lines()
    assert lines[3]["learning_rate"] > lines[2]["learning_rate"]  # the longer run's cosine is higher there
    about = Run(out).about()
    assert about["extended"] == [{"steps": 9, "epochs": [3, 5], "command": "seit train ..."}]
    assert about["recipe"]["epochs"] == 5
    after = load_file(out / "classifier" / "model.safetensors")
    assert any((before[key] != after[key]).any() for key in before)
    (row,) = seit.runs([out])
    assert (row["epochs"], row["epochs_planned"], row["epochs_extended"]) == (5, 5, [3])
    # From now on it is that run: the same command, with or without --extend, has nothing to do.
    assert seit.train(tokens, out, settings=LONGER) == result
    assert seit.train(tokens, out, settings=LONGER, extend=True) == result
    with pytest.raises(RunError, match=r"another recipe \(epochs\); choose another --out$"):
        seit.train(tokens, out, settings=SETTINGS, extend=True)


def test_an_interrupted_run_goes_on_for_more_epochs_to_the_same_bits_as_an_interrupted_extension(
    tokens, tmp_path, monkeypatch
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out in (whole, cut):
        with pytest.raises(KeyboardInterrupt):
            interrupted_at(2, monkeypatch, tokens, out, SETTINGS)
    seit.train(tokens, whole, settings=LONGER, extend=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(11, monkeypatch, tokens, cut, LONGER, extend=True)
    seit.train(tokens, cut, settings=LONGER, extend=True)
    assert lines_of(whole) == lines_of(cut)
    mine, theirs = (load_file(out / "classifier" / "model.safetensors") for out in (whole, cut))
    assert all((mine[key] == theirs[key]).all() for key in mine)


def interrupted_at(step, monkeypatch, tokens, out, settings, **options):
    """Trains until the process is asked to end while it makes a step."""
    with monkeypatch.context() as patch:
        steps = []
        patch.setattr(state.State, "move", counted(state.State.move, steps))
        patch.setattr(Stop, "asked", property(lambda _: len(steps) >= step, lambda *_: None), raising=False)
        seit.train(tokens, out, settings=settings, **options)


def counted(move, steps):
    return lambda self: (steps.append(1), move(self))[1]


def test_a_run_without_its_checkpoint_cannot_be_extended_and_says_why(run, tokens, tmp_path):
    out = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(out / "checkpoints")
    before = untouched(out)
    with pytest.raises(RunError, match="has no checkpoint to go on from; start another run with --from"):
        seit.train(tokens, out, settings=LONGER, extend=True)
    assert {path: seen for path, seen in untouched(out).items() if path.name != ".lock" and path != out} == {
        path: seen for path, seen in before.items() if path.name != ".lock" and path != out
    }
