import pytest

from seit.progress import quiet


@pytest.fixture(autouse=True, scope="session")
def _quiet():
    quiet()
