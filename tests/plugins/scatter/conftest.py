"""What tests of scatters need not wait for."""

from datetime import timedelta

import pytest

from flowstone.core import executor
from flowstone.plugins.scatter import pump


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading that failed is tried again at once."""
    monkeypatch.setattr(executor, "ASSISTANT_DELAY", timedelta(milliseconds=1))
    monkeypatch.setattr(pump, "PATIENCE_SECONDS", 0.01)
