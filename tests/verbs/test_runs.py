"""`seit runs` against what the runs' own files say; the page and the curves that a training leaves."""

import json
import shutil

import pytest
from drawn import SETTINGS
from PIL import Image

import seit


@pytest.fixture(scope="module")
def several(run, tokens, tmp_path_factory):
    """Three runs below one folder: finished, finished with another seed and size of batch, and cut off."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(run, folder / "a")
    seit.train(tokens, folder / "deeper" / "b", settings=SETTINGS | {"seed": "1", "batch_size": "30"})
    shutil.copytree(run, folder / "cut")
    (folder / "cut" / "result.json").unlink()
    lines = (folder / "cut" / "metrics.jsonl").read_text().splitlines()
    (folder / "cut" / "metrics.jsonl").write_text(lines[0] + "\n" + lines[1] + '\n{"step": 9, "ep')
    return folder


def test_runs_says_what_each_runs_files_say(several, tokens):
    found = seit.runs([several])
    assert [one["run"] for one in found] == [str(several / name) for name in ("a", "cut", "deeper/b")]
    for one in found:
        whole = (several / one["run"] / "metrics.jsonl").read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        assert one["top1"] == lines[-1]["top1"]
        assert one["best_top1"] == max(line["top1"] for line in lines)
        assert one["seconds"] == lines[-1]["seconds"]
        assert one["images_per_second"] in [line["images_per_second"] for line in lines]
        assert one["bytes"] == sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file())
        assert (one["recipe"], one["trunk"], one["data"]) == ("mini", "mini_resnet", str(tokens))
    assert [one["finished"] for one in found] == [True, False, True]
    assert [one["epochs"] for one in found] == [3, 2, 3]


def test_only_settings_that_differ_are_named(several):
    found = seit.runs([several / "a", several / "deeper"])
    assert [one["settings"] for one in found] == [{"batch_size": 20, "seed": 0}, {"batch_size": 30, "seed": 1}]
    assert seit.runs([several / "a", several / "cut"])[0]["settings"] == {}


def test_the_table_has_a_line_a_run_under_its_names(several, cli):
    ended = cli("runs", several)
    lines = ended.out.splitlines()
    assert lines[0].split()[:5] == ["run", "recipe", "trunk", "data", "bytes"]
    assert len(lines) == 4
    assert len({line.find("mini_resnet") for line in lines[1:]}) == 1
    assert "2 of 3" in lines[2]
    assert "seed=1" in lines[3]
    assert json.loads(cli("runs", several, "--json").out)["runs"] == seit.runs([several])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{empty}", "{empty}: holds no run"),
        ("{run}/nowhere", "nowhere: holds no run"),
        ("{bad}", "remove the damaged line"),
    ],
)
def test_what_is_no_run_is_refused_by_name(arguments, said, run, cli, tmp_path):
    places = {"empty": tmp_path / "empty", "run": run, "bad": tmp_path / "bad"}
    places["empty"].mkdir()
    shutil.copytree(run, places["bad"])
    with open(places["bad"] / "metrics.jsonl", "a") as file:
        file.write("{no json}\n")
    ended = cli("runs", arguments.format(**places))
    assert ended.code == 1
    assert said.format(**places) in ended.err
    assert ended.err.count("\n") == 1


def test_a_training_leaves_its_page_and_its_curves(run, tokens):
    page = (run / "report.html").read_text()
    held = json.loads((run / "result.json").read_text())
    assert f"{100 * held['top1']:.1f}" in page
    assert "on 24 held-out rows" in page
    assert "taken most for" in page
    for name in ("loss", "accuracy"):
        with Image.open(run / f"{name}.png") as picture:
            picture.load()
            assert picture.size[0] == 1520


def test_the_bytes_of_a_pixel_run_are_those_of_its_files(shapes):
    from seit.images import open_source

    files = [path for path in shapes.rglob("*") if path.is_file()]
    assert open_source(shapes).file_bytes() == sum(path.stat().st_size for path in files)
    assert open_source("sample").file_bytes() > 4_000_000
