"""An environment of its own, in which a package from outside the tree is installed with pip."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "flowstone-tally"
ROOT = Path(__file__).parents[2]

collect_ignore = [PACKAGE.name]  # its tests run in its own environment, see below

Ended = subprocess.CompletedProcess[str]


class Outside:
    """The environment: this one's packages, and the plugin's."""

    def __init__(self, place: Path) -> None:
        self.source = place / "source"
        shutil.copytree(PACKAGE, self.source)  # building writes beside the source
        venv.create(place, with_pip=False)
        self.python = place / "bin" / "python"
        (self.packages,) = place.glob("lib/python*/site-packages")
        below = sysconfig.get_path("purelib")
        # Also what is installed there by a path of its own, such as an editable FlowStone.
        line = f"import site; site.addsitedir({below!r})\n"
        (self.packages / "packages_of_the_tests.pth").write_text(line)

    def install(self, source: Path) -> None:
        """Install a package from its source, without a network."""
        alone = ["--no-build-isolation", "--no-deps", "--no-index"]
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", self.python, "install", *alone, source],
            check=True,
            capture_output=True,
        )

    def run(self, *arguments: object, cwd: Path, **environment: str) -> Ended:
        """Run the environment's Python to its end."""
        return subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """The environment with the plugin in it."""
    outside = Outside(tmp_path_factory.mktemp("outside"))
    outside.install(outside.source)
    return outside


@pytest.fixture
def flowstone(outside: Outside, tmp_path: Path, dsn: str | None = None) -> Callable[..., Ended]:
    """``flowstone("run", "report", FLOWSTONE_DSN=…)`` in the project's folder."""

    def run(*arguments: object, **environment: str) -> Ended:
        return outside.run("-m", "flowstone", *arguments, cwd=tmp_path, **environment)

    return run
