from pathlib import Path

import pytest

from tests.cli.demo.made_environment import MadeEnvironment


@pytest.fixture
def made(tmp_path: Path) -> MadeEnvironment:
    """An empty site folder."""
    return MadeEnvironment(tmp_path / "site-packages")
