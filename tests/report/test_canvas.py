"""Drawing works whatever backend the environment names, and no start waits for matplotlib."""

import os
import subprocess
import sys

import pytest

DRAW = """
from seit.report.figures import Axis, Line, curves
drawing = curves([Line("loss", [0, 1], [0, 1])], Axis("step"), Axis("loss"))
assert "<svg" in drawing.svg()
drawing.write_png("drawn.png")
import os, matplotlib
print(os.environ.get("MPLBACKEND"), matplotlib.rcParams._get("backend"))
"""


@pytest.mark.parametrize(
    ("backend", "kept"),
    [("module://matplotlib_inline.backend_inline", False), ("nosuch", False), ("TkAgg", True), ("svg", True)],
)
def test_a_figure_is_drawn_whatever_backend_is_set(backend, kept, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").stat().st_size > 1000
    told, used = done.stdout.split(maxsplit=1)
    assert told == backend  # other programs that this one starts still get it
    assert (used.strip() == backend) == kept  # a backend that is there stays the user's choice


def test_a_training_starts_without_loading_matplotlib():
    program = "import sys, seit.verbs.train; assert 'matplotlib' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
