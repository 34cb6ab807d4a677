"""The files and interpreters that the architecture tests look at."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flowstone"


def modules(folder: Path = PACKAGE) -> list[Path]:
    """Return the Python files under a folder, in order."""
    return sorted(folder.rglob("*.py"))


def tracked() -> list[Path]:
    """Return every file that is in git or would be added; those with bytes that are no text too."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def git(*arguments: str) -> str:
    return run("git", *arguments).stdout


def python(
    *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter, afresh; see `run`."""
    return run(sys.executable, *arguments, cwd=cwd, env=env)


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is installed beside this interpreter, whatever its exit code."""
    return run(str(Path(sysconfig.get_path("scripts"), name)), *arguments, check=False)


def run(
    *command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """
    Run a command to its end and return what it printed.

    Raises:
        AssertionError: It failed, and ``check`` is on; the message is what it printed.
    """
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        said = f"{ended.returncode} from {' '.join(command)}\n{ended.stdout}{ended.stderr}"
        assert ended.returncode == 0, said
    return ended
