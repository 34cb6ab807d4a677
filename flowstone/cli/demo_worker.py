"""The demo's worker: an ordinary ``flowstone worker``, in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import click

import flowstone
from flowstone.cli.database import Database
from flowstone.cli.demo.environment import site_folders
from flowstone.cli.demo_folder import APP, DemoFolder
from flowstone.cli.exit_codes import ExitCode

PATIENCE_SECONDS = (3.0, 6.0)
"""After the first and the second SIGTERM; then it is killed."""

SHOWN_LINES = 15


class WorkerEndedError(click.ClickException):
    """The worker ended before its work did."""

    exit_code = ExitCode.ENVIRONMENT


class DemoWorker:
    """
    A worker process, as a context manager; at the end of the block it is stopped.

    It ends by itself when this process is killed: the other end of its standard input is ours.
    Ctrl-C does not reach it, so that it is this process that decides what happens then.
    """

    def __init__(self, database: Database, folder: DemoFolder) -> None:
        self._log = folder.worker_log
        self._folder = folder.path
        self._environment = {
            **os.environ,
            # Not on the command line, which everybody on the machine can read.
            "FLOWSTONE_DSN": database.dsn,
            "FLOWSTONE_SCHEMA": database.schema,
            **_import_path(),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flowstone", "worker", "--app", APP, "--supervised"],
                # Not where we were started: what lies there might be imported.
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        try:
            for patience in PATIENCE_SECONDS:
                process.terminate()
                try:
                    process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    @property
    def command(self) -> str:
        """What was started, as one would type it."""
        return f"flowstone worker --app {APP}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """
        Do nothing while it lives.

        Raises:
            WorkerEndedError: It has ended; the message has the last of what it said.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = "".join(f"\n  {line}" for line in said[-SHOWN_LINES:]) or "\n  (nothing)"
        raise WorkerEndedError(
            f"the worker {how} before the run had ended; what it said last ({self._log}):{last}\n"
            "What it had computed by then is kept: the next demo goes on from there."
        )


def _import_path() -> dict[str, str]:
    """Return what lets it import this very FlowStone, where that is not installed but run."""
    package = Path(flowstone.__file__).resolve().parents[1]
    if package in site_folders():
        return {}
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(package), *([known] if known else [])])}
