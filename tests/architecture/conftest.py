"""What is published, built from this tree."""

from pathlib import Path

import pytest

from tests.architecture.sources import python

BUILD = "import hatchling.build, sys; hatchling.build.build_{kind}(sys.argv[1])"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-c", BUILD.format(kind="wheel"), str(folder))
    return next(folder.glob("flowstone-*.whl"))
