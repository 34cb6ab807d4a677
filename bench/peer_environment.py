"""An environment for each peer, of Python or of Node, kept in the cache apart from others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.trial import TrialError

INSTALL_SECONDS = 300
LEAST_PYTHON = (3, 11)
NEWEST_PYTHON = 20
"""The last minor version of Python 3 that is looked for by its name."""


def cache_folder() -> Path:
    """Say where the environments are kept: `flowstone-bench` below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flowstone-bench"


def ensure_peer_environment(
    peer: str, packages: tuple[str, ...], least_python: tuple[int, int] = LEAST_PYTHON
) -> Path:
    """
    Return the Python of the peer's environment; install it by name if it is not there yet.

    What is installed stays as it is until its folder is deleted, so that runs compare. An
    installation that stopped half-way is begun anew.

    Args:
        least_python: A peer may need a newer Python than ours; one is looked for on this machine.

    Raises:
        TrialError: It does not install, or there is no such Python.
    """
    base, version = find_python(least_python)
    folder = cache_folder() / f"{peer}-py{version[0]}.{version[1]}"
    python = folder / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check", "--retries", "2")
    commands = (
        (str(base), "-m", "venv", str(folder)),
        (str(python), "-m", "pip", "install", *options, *packages),
    )
    _ensure(folder, packages, commands)
    return python


def ensure_node_environment(peer: str, packages: tuple[str, ...]) -> Path:
    """
    Return the Node of the peer's environment, which npm installs like its other packages.

    Raises:
        TrialError: It does not install, or there is no npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        message = "does not install: there is no npm on the PATH"
        raise TrialError(message)
    folder = cache_folder() / f"{peer}-node"
    options = ("--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder))
    _ensure(folder, packages, ((npm, "install", *options, *packages),))
    return folder / "node_modules" / ".bin" / "node"


def find_python(least: tuple[int, int]) -> tuple[Path, tuple[int, int]]:
    """
    Return a Python of at least this version, and its version: ours if it is new enough.

    Raises:
        TrialError: There is none.
    """
    for candidate in _candidates(least):
        version = _version_of(candidate)
        if version is not None and version >= least:
            return candidate, version
    message = f"needs Python {least[0]}.{least[1]} or later, which is not on this machine"
    raise TrialError(message)


def _candidates(least: tuple[int, int]) -> Iterator[Path]:
    yield Path(sys.executable)
    names = (f"python{least[0]}.{minor}" for minor in range(NEWEST_PYTHON, least[1] - 1, -1))
    for name in ("python3", *names):
        found = shutil.which(name)
        if found:
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/*/bin/python3"), reverse=True)


def _version_of(python: Path) -> tuple[int, int] | None:
    """Return the version, or None when it does not run: a version manager's shim may not."""
    command = (str(python), "-c", "import sys, venv; print(*sys.version_info[:2])")
    try:
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
        major, minor = map(int, answer.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor


def _ensure(folder: Path, packages: tuple[str, ...], commands: tuple[tuple[str, ...], ...]) -> None:
    marker = folder / "installed.txt"
    wanted = "\n".join(packages) + "\n"
    if marker.exists() and marker.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        _run(command)
    marker.write_text(wanted)


def _run(command: tuple[str, ...]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        message = f"does not install within {INSTALL_SECONDS} s"
        raise TrialError(message) from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        message = f"does not install: {lines[-1] if lines else error.stderr.strip()[-300:]}"
        raise TrialError(message) from error
