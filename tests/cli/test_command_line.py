"""The command line prints what was asked for, where it belongs, and nothing else."""

import collections
import csv
import json
import os
import shlex
import subprocess
import sys
import time

import pytest
import typer.main
from drawn import draw_shapes

import seit
import seit.cli

COMMAND = typer.main.get_command(seit.cli.app)


def commands() -> dict[str, object]:
    """Returns every command by what one types: {"tokenize": ..., "tokenizer train": ...}."""
    found = {}
    for name, command in COMMAND.commands.items():
        inner = getattr(command, "commands", {"": command})
        found |= {f"{name} {sub}".strip(): one for sub, one in inner.items()}
    return found


def example(command) -> str:
    return next(line.strip() for line in command.help.splitlines() if line.strip().startswith("Example: "))


def test_every_verb_is_a_function_of_the_package_and_the_other_way_round():
    verbs = {name for name in commands() if " " not in name}
    functions = {name for name in seit.__all__ if seit._HOMES.get(name, "").startswith("seit.verbs")}
    assert verbs == functions
    for name in seit.__all__:
        assert callable(getattr(seit, name))


def test_options_are_the_functions_arguments():
    import inspect

    for name, command in commands().items():
        if " " in name:
            continue
        given = {p.name for p in command.params} - {"as_json", "silent", "help"}
        assert given <= set(inspect.signature(getattr(seit, name)).parameters), name


WITHOUT_NETWORK = (
    "info",
    "runs",
    "verify",
    "convert",
    "append",
    "merge",
    "subset",
    "edit",
    "push",
    "tokenizer convert",
)


def test_every_command_has_the_common_options_and_an_example():
    for name, command in commands().items():
        options = {option for p in command.params for option in p.opts}
        assert {"--json", "--quiet"} <= options, name
        assert "--device" in options or name in WITHOUT_NETWORK, name
        words = shlex.split(example(command).removeprefix("Example: "))
        assert words[: 1 + len(name.split())] == ["seit", *name.split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples of the help texts assume: photos/ and photo.jpg."""
    folder = tmp_path_factory.mktemp("examples")
    draw_shapes(folder / "photos", 4, 2, side=64)
    (folder / "photo.jpg").write_bytes((folder / "photos/val/circle/00.jpg").read_bytes())
    return folder


# What an example would spend minutes on, as further options that do the same in little.
SHORTER = {"tokenizer train": "--steps 2 --sides 32 --codes 16 --pixels 4096 --size 64"}


def test_the_examples_in_the_help_texts_run_one_after_another(folder, cli, monkeypatch):
    import seit.verbs.demo

    called = {}
    figures = collections.defaultdict(lambda: 0.5)
    monkeypatch.setattr(seit.verbs.demo, "demo", lambda out, **options: called.update(out=out) or figures)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    for name, command in commands().items():
        line = os.path.expandvars(example(command).removeprefix("Example: seit "))
        ended = cli(*shlex.split(line), *shlex.split(SHORTER.get(name, "")))
        assert ended.code == 0, f"{line}: {ended.err}"
        assert ended.out
    assert {"photos.tokens", "photos.tokens.png", "run", "mine.safetensors"} <= {p.name for p in folder.iterdir()}
    assert str(called["out"]) == "demo"


def test_json_is_one_document_with_a_schema_and_nothing_else(cli, tokens, run, shapes, tmp_path):
    picture = shapes / "val" / "circle" / "00.jpg"
    for arguments in (
        ("info", tokens),
        ("show", tokens, "--out", tmp_path / "sheet.png"),
        ("eval", run, "--tokens", tokens),
        ("predict", run, picture),
        ("tokenize", shapes, tokens, "--tokenizer", "patch4", "--size", "32"),
    ):
        ended = cli(*arguments, "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["schema"] == 1


def test_json_of_a_failure_is_one_document_with_its_parts(cli, tmp_path):
    ended = cli("info", tmp_path / "nowhere", "--json")
    assert ended.code == 1
    error = json.loads(ended.out)["error"]
    assert error["where"] == str(tmp_path / "nowhere")
    assert "seit tokenize" in error["cure"]
    assert ended.err.count("\n") == 1


def test_quiet_prints_results_only(cli, tokens, run, shapes, tmp_path):
    for arguments in (
        ("tokenize", shapes, tmp_path / "again.tokens", "--tokenizer", "patch4", "--size", "32"),
        ("train", tokens, "--out", tmp_path / "run", "--set", "epochs=1", "--set", "batch_size=30"),
        ("eval", run, "--images", shapes),
        ("predict", run, shapes / "val"),
        ("show", tokens, "--out", tmp_path / "sheet.png"),
    ):
        ended = cli(*arguments, "--quiet")
        assert (ended.code, ended.err) == (0, ""), arguments
        assert ended.out


def test_progress_goes_to_standard_error_with_units(cli, run, shapes):
    ended = cli("eval", run, "--images", shapes)
    assert "evaluate: 24/24 images in" in ended.err
    assert "evaluate" not in ended.out


def test_predict_prints_a_line_an_image_and_writes_csv_and_json(cli, run, shapes, tmp_path):
    folder = shapes / "val" / "square"
    ended = cli("predict", run, folder, "--top", "2", "--out", tmp_path / "new" / "found.csv")
    lines = ended.out.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith(f"{folder / '00.jpg'}: square ")
    assert all(line.count("%") == 2 for line in lines)
    with open(tmp_path / "new" / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["square"] * 8
    cli("predict", run, folder, "--out", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text())
    assert [row["image"] for row in written] == [row["image"] for row in rows]
    assert all(abs(a["probability"] - float(b["probability"])) < 1e-6 for a, b in zip(written, rows, strict=True))


def test_info_prints_what_the_folder_weighs(cli, tokens):
    ended = cli("info", tokens)
    weight = sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file())
    assert f"{weight:,}" in ended.out
    assert "84 (60 train, 24 val)" in ended.out
    assert "8 x 8 an image" in ended.out
    described = json.loads(cli("info", tokens, "--json").out)
    assert described["bytes"]["total"] == weight
    assert described["rows_per_class"] == {"circle": 28, "square": 28, "stripes": 28}


def test_the_command_that_made_it_is_recorded(cli, shapes, tmp_path):
    cli("tokenize", shapes, tmp_path / "t", "--tokenizer", "patch4", "--size", "32")
    made = json.loads(cli("info", tmp_path / "t", "--json").out)["created"]
    assert made["command"] == shlex.join(
        ["seit", "tokenize", str(shapes), str(tmp_path / "t"), "--tokenizer", "patch4", "--size", "32"]
    )


def fastest(arguments: list[str], times: int = 3) -> tuple[float, str, str]:
    """Runs a command several times; returns the least seconds and what the last printed."""
    least = float("inf")
    for _ in range(times):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "seit", *arguments], capture_output=True, text=True)
        least = min(least, time.monotonic() - start)
        assert done.returncode == 0, done.stderr
    return least, done.stdout, done.stderr


def cpu_seconds_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize("verb", ["--help", "info"])
def test_help_and_info_answer_at_once(verb, tokens):
    before = cpu_seconds_of_children()
    seconds, out, err = fastest([verb] + ([str(tokens)] if verb == "info" else []))
    busy = (cpu_seconds_of_children() - before) / 3
    assert out
    assert err == ""
    # On a machine that others keep busy the wall clock says little; then the processor time has to do.
    assert seconds < 1.5 or busy < 0.75, f"{seconds:.2f} s, of them {busy:.2f} s on the processor"


def test_the_real_command_fails_with_one_line_and_code_1_and_2_for_usage():
    for arguments, code in ((["info", "nowhere"], 1), (["info"], 2), (["infos"], 2), ([], 2)):
        done = subprocess.run([sys.executable, "-m", "seit", *arguments], capture_output=True, text=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        if code == 1:
            assert done.stderr.count("\n") == 1
            assert done.stdout == ""


def test_a_reader_that_stops_early_is_no_error(tokens):
    with subprocess.Popen(
        [sys.executable, "-m", "seit", "info", str(tokens), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()  # as `| head -0` does
        assert b"Traceback" not in process.stderr.read()


def test_version_is_the_packages(cli):
    assert cli("--version").out.strip() == f"seit {seit.__version__}"
