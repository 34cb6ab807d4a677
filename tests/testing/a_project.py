"""A project of a user's, outside of this tree, whose tests pytest runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
addopts = "--strict-markers"
filterwarnings = ["error"]
"""


def run_tests(
    project: Path, text: str, *arguments: str, fails: bool = False, **environment: str
) -> str:
    """Run a file of tests as the user would, and return what pytest said."""
    (project / "test_shop.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == int(fails), ended.stdout + ended.stderr
    return ended.stdout
