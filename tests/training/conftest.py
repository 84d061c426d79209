"""What tests of trainings share."""

import pytest

from seit.training import state


@pytest.fixture
def kept(monkeypatch):
    """Keeps a checkpoint of every step, as if each cost nothing."""
    monkeypatch.setattr(state, "SOONEST", 0.0)
    monkeypatch.setattr(state, "SHARE", 1.0)
