"""Run folders, which `seit train` writes and everybody else reads: their only reader and writer, without torch."""

from seit.run.folder import Run, runs_below
from seit.run.metrics import TIMED, untimed

__all__ = ["TIMED", "Run", "runs_below", "untimed"]
