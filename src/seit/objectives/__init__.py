"""What a training minimises: one file an objective; `base.py` is the contract."""

from seit.objectives.base import Objective
from seit.objectives.classify import Classify

__all__ = ["Classify", "Objective"]
