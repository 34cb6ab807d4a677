"""A virtual environment for each peer, kept in the user's cache, apart from all others."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.trial import TrialError

INSTALL_SECONDS = 300


def cache_folder() -> Path:
    """Say where the environments are kept: `flowstone-bench` below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flowstone-bench"


def ensure_peer_environment(peer: str, packages: tuple[str, ...]) -> Path:
    """
    Return the Python of the peer's environment; install it by name if it is not there yet.

    What is installed stays as it is until its folder is deleted, so that runs compare. An
    installation that stopped half-way is begun anew.

    Raises:
        TrialError: It does not install.
    """
    folder = cache_folder() / f"{peer}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    marker = folder / "installed.txt"
    wanted = "\n".join(packages) + "\n"
    if marker.exists() and marker.read_text() == wanted:
        return python

    shutil.rmtree(folder, ignore_errors=True)
    options = ("--quiet", "--disable-pip-version-check", "--retries", "2")
    install = ("-m", "pip", "install", *options, *packages)
    for command in ((sys.executable, "-m", "venv", str(folder)), (str(python), *install)):
        _run(command)
    marker.write_text(wanted)
    return python


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
