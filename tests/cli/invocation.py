"""The command line as a test uses it: in this process, or as a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from click.testing import CliRunner

from flowstone.cli.root import root

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command ended with, and what it has printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.stdout)


def flowstone(*arguments: object, **environment: str) -> Ended:
    """Run a command in this process; modules of the current folder are forgotten afterwards."""
    loaded = set(sys.modules)
    result = CliRunner().invoke(root, [str(it) for it in arguments], env=environment)
    forget_modules(Path.cwd(), set(sys.modules) - loaded)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def forget_modules(folder: Path, names: Iterable[str]) -> None:
    """Have those of the modules that lie in a folder imported anew when they are next needed."""
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(folder):
            del sys.modules[name]


class Process:
    """
    A command in a process of its own, whose stderr can be waited for.

    Used as a context manager it is killed at the end, if it has not ended by itself.
    """

    def __init__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "flowstone", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._reader.join()
        for stream in (self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()

    @property
    def stderr(self) -> str:
        """What it has said on stderr so far."""
        return "\n".join(self._lines)

    def says(self, pattern: str, *, times: int = 1) -> list[re.Match[str]]:
        """Return the first matches in what it says on stderr, as soon as there are so many."""
        with self._came:
            found = self._came.wait_for(
                lambda: len(self._matches(pattern)) >= times or self._has_ended(),
                PATIENCE_SECONDS,
            )
            matches = self._matches(pattern)
        assert found, f"not said within {PATIENCE_SECONDS}s: {pattern}\n{self.stderr}"
        assert len(matches) >= times, f"ended without saying {pattern}:\n{self.stderr}"
        return matches[:times]

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def ends(self) -> Ended:
        """Wait for its end."""
        code = self.popen.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.popen.stdout is not None
        return Ended(code, self.popen.stdout.read(), self.stderr)

    def _matches(self, pattern: str) -> list[re.Match[str]]:
        return list(re.finditer(pattern, self.stderr))

    def _has_ended(self) -> bool:
        return not self._reader.is_alive()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._came:
                self._lines.append(line.rstrip("\n"))
                self._came.notify_all()
        with self._came:
            self._came.notify_all()


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds that another process does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
