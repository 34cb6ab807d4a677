"""
Several worker processes under one that keeps them alive.

::

    supervisor ──starts──▶ flowstone worker --supervised   (its own process group)
        │  SIGTERM, Ctrl-C: handed on once for each          one that ends is followed by another,
        └─ holds their standard input                        later each time it does not last

The children end with the supervisor, even if that is killed: their standard input ends then. They
connect for themselves, and share nothing but the database.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import warn
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.worker_options import WorkerOptions

SHORTEST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
LASTING_SECONDS = 60.0
"""A process that has lived this long was well; its end is no reason to wait longer."""

LAST_SECONDS = 10.0
"""After the second stop: how long a process may take before it is killed."""


class WorkerProcesses:
    """
    Processes that each do what one worker does; `run` it once.

    Args:
        app: What they import again, on the database that they are to use.
        options: Of each; without queues, those that the application's assets name.
        concurrency: For those queues.
        http: Where the first of them answers an orchestrator; the next one on the next port.
    """

    def __init__(
        self,
        app: FlowStone,
        settings: Settings,
        options: WorkerOptions,
        concurrency: int,
        http: tuple[str, int] | None = None,
    ) -> None:
        self._command = _command(settings, options, concurrency)
        self._http = http
        self._drains = options.drain
        self._environment = _environment(app, settings)
        self._children: set[asyncio.subprocess.Process] = set()
        self._stopped = asyncio.Event()
        self._stops: list[ExitCode] = []
        self._refused: ExitCode | None = None

    async def run(self, count: int) -> ExitCode:
        """Keep so many processes alive until stopped, or (drain) until all have ended."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, ExitCode.TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self._stop, ExitCode.INTERRUPTED)
        await asyncio.gather(*(self._keep_alive(place) for place in range(count)))
        if self._refused is not None:
            return self._refused
        return self._stops[1] if len(self._stops) > 1 else ExitCode.OK

    async def _keep_alive(self, place: int) -> None:
        loop = asyncio.get_running_loop()
        backoff = SHORTEST_BACKOFF
        while not self._stopped.is_set():
            began = loop.time()
            code = await self._live(place)
            if self._stopped.is_set() or (code == ExitCode.OK and self._drains):
                return
            if code in (ExitCode.RECYCLED, ExitCode.OK):  # somebody stopped it alone
                backoff = SHORTEST_BACKOFF
                continue
            if code == ExitCode.USAGE:
                self._refused = ExitCode.USAGE
                self._stop(ExitCode.TERMINATED)
                return
            if loop.time() - began > LASTING_SECONDS:
                backoff = SHORTEST_BACKOFF
            warn(f"a worker process ended with {code}; starting another in {backoff:g}s")
            await self._wait_stopped(backoff)
            backoff = min(LONGEST_BACKOFF, backoff * 2)

    async def _live(self, place: int) -> int:
        """Start a process and return what it ended with; a signal's number is negative."""
        at = [] if self._http is None else ["--http", f"{self._http[0]}:{self._http[1] + place}"]
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                *at,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the terminal is ours to hand on
            )
        except OSError as error:
            warn(f"a worker process cannot be started: {error}")
            return ExitCode.ENVIRONMENT
        self._children.add(child)
        try:
            for _ in self._stops:  # arrived while it was being started
                _send(child, signal.SIGTERM)
            return await child.wait()
        except asyncio.CancelledError:
            _send(child, signal.SIGKILL)
            raise
        finally:
            self._children.discard(child)

    def _stop(self, code: ExitCode) -> None:
        self._stops.append(code)
        self._stopped.set()
        for child in self._children:
            _send(child, signal.SIGTERM)
        if len(self._stops) == 2:
            asyncio.get_running_loop().call_later(LAST_SECONDS, self._kill)

    def _kill(self) -> None:
        for child in self._children:
            _send(child, signal.SIGKILL)

    async def _wait_stopped(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()


def _send(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        child.send_signal(number)


def _command(settings: Settings, options: WorkerOptions, concurrency: int) -> Sequence[str]:
    queues = ",".join(f"{name}:{slots}" for name, slots in options.queues.items())
    return [
        *(sys.executable, "-m", "flowstone", "worker", "--supervised"),
        *(["--queues", queues] if queues else ["--concurrency", str(concurrency)]),
        *("--lease", f"{options.lease.total_seconds()}s"),
        *(
            ["--hang-limit", f"{options.hang_limit.total_seconds()}s"]
            if options.hang_limit is not None
            else []
        ),
        *("--shutdown-timeout", f"{options.shutdown_timeout.total_seconds()}s"),
        *("--child-processes", str(options.child_processes)),
        *(["--max-jobs", str(options.max_jobs)] if options.max_jobs is not None else []),
        *(["--max-memory", str(options.max_memory)] if options.max_memory is not None else []),
        *(["--drain"] if options.drain else []),
        *(["--quiet"] if settings.quiet else []),
        *(["--verbose"] if settings.verbose else []),
    ]


def _environment(app: FlowStone, settings: Settings) -> dict[str, str]:
    """Say which application and database; in the environment, as ``ps`` shows arguments to all."""
    chosen = {
        "FLOWSTONE_APP": settings.chosen_app(),
        "FLOWSTONE_DSN": app.dsn,
        "FLOWSTONE_SCHEMA": app.schema,
    }
    return {**os.environ, **{name: value for name, value in chosen.items() if value}}
