"""A training killed at random moments ends with the undisturbed one's weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "stress" / "train_kills.py"


def test_five_random_kills_change_no_weight():
    # In a process of its own, which forks: this one has used threads.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), "--kills", "5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= 5
    assert found["identical"] == found["trainings"] >= 1
