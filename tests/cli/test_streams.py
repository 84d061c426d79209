"""The command line under any terminal: ASCII, closed streams, readers that stop early."""

import os
import subprocess
import sys

import pytest
from drawn import picture

import seit


@pytest.fixture(scope="module")
def accented(tmp_path_factory):
    """A token data set whose classes no ASCII terminal can show."""
    folder = tmp_path_factory.mktemp("accented")
    for number, name in enumerate(("caf\u00e9", "\u732b")):
        for i in range(3):
            (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
            picture("circle", 10 * number + i).save(folder / "photos" / name / f"{i}.png")
    seit.tokenize(folder / "photos", folder / "tokens", tokenizer="patch4", size=32)
    return folder / "tokens"


def command(*arguments, shell="", **environment):
    words = " ".join(map(str, [sys.executable, "-m", "seit", *arguments]))
    return subprocess.run(["bash", "-c", f"{words} {shell}"], capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("environment", "cafe", "cat"),
    [
        ({"PYTHONIOENCODING": "ascii"}, rb"caf\xe9", rb"\u732b"),
        ({"PYTHONIOENCODING": "latin-1"}, b"caf\xe9", rb"\u732b"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, rb"caf\xe9", rb"\u732b"),
        ({"PYTHONIOENCODING": "utf-8"}, "caf\u00e9".encode(), "\u732b".encode()),
    ],
)
def test_a_terminal_that_lacks_letters_gets_them_spelt_out(accented, environment, cafe, cat):
    done = command("info", accented, "--classes", **environment)
    assert done.returncode == 0, done.stderr
    assert cafe in done.stdout
    assert cat in done.stdout


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing_but_what_is_seen(accented, shell):
    done = command("info", accented, "--classes", shell=shell)
    assert done.returncode == 0, done.stderr
    assert (b"caf" in done.stdout) == (">&-" not in shell.replace("2>&-", ""))


def test_nothing_that_is_printed_lands_in_a_file_that_got_the_number_of_a_closed_stream(accented, tmp_path):
    out = tmp_path / "twice"
    done = command(
        "tokenize", accented.parent / "photos", out, "--tokenizer", "patch4", "--size", "32", shell="2>&-"
    )
    assert done.returncode == 0, done.stderr
    assert seit.verify(out)["whole"]


@pytest.mark.parametrize("shell", ["| true", "2>&1 | true", "--json | true"])
def test_a_failure_that_nobody_reads_is_no_traceback(tmp_path, shell):
    # A pipe that is closed before the message comes: the reader ends at once, the command takes half a second.
    done = command("info", tmp_path / "absent", shell=shell)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_progress_says_nothing_where_there_is_no_standard_error(monkeypatch):
    from seit.progress import progress

    monkeypatch.setattr(sys, "stderr", None)
    with progress(3, "count", "things") as bar:
        bar.update(3)
