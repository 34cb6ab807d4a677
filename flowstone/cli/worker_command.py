"""
``flowstone worker``: work on what was enqueued, until stopped.

A stop (SIGTERM, Ctrl-C) takes no more work, waits for what runs, hands back what has not ended in
time, and exits with 0; with 143 or 130 when a body does not let itself be cancelled. A second one
does not wait: what runs is handed back at once, and the exit
code is 143 or 130.
"""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click

from flowstone.cli.address_option import read_address
from flowstone.cli.application import bound, opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import note
from flowstone.cli.patience import patiently
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.cli.size_option import read_size
from flowstone.cli.worker_processes import WorkerProcesses
from flowstone.core.application import FlowStone
from flowstone.core.errors import DatabaseError, InvalidOptionError
from flowstone.core.options import OptionReader
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions

MOST_SLOTS = 10_000
LEASES = (timedelta(seconds=1), timedelta(seconds=25))
"""procrastinate's own workers take a heartbeat that is 30 seconds old for dead."""

SHORTEST_HANG_LIMIT = timedelta(seconds=1)

logger = logging.getLogger(__name__)

LAST_SECONDS = 5.0
"""After the second stop: how long handing back may take before the process just ends."""


@click.command(cls=Command)
@click.option(
    "-q",
    "--queues",
    metavar="NAME[:N],...",
    multiple=True,
    help="The queues to serve, and how many assets of each run at once (etl:10,scatter:50). "
    "By default every queue that an asset or a job of the application names.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_SLOTS),
    default=20,
    show_default=True,
    help="How many run at once of a queue for which no number is said.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="So many worker processes; one that ends is followed by another.",
)
@click.option(
    "--child-processes",
    type=click.IntRange(1, 1024),
    default=None,
    metavar="N",
    help='How many functions with executor="process" a worker runs at once, each in a process of '
    "its own. By default one for each processor.",
)
@click.option("--drain", is_flag=True, help="Stop when nothing is left that is due.")
@click.option(
    "--shutdown-timeout",
    metavar="DURATION",
    default="30s",
    show_default=True,
    callback=read_duration,
    help="How long a stop waits for what runs before it is handed back.",
)
@click.option(
    "--lease",
    metavar="DURATION",
    default="15s",
    show_default=True,
    callback=read_duration,
    help="Others take over once this worker gives no sign of life for this long, 1s to 25s.",
)
@click.option(
    "--hang-limit",
    metavar="DURATION",
    default="5m",
    show_default=True,
    callback=read_duration,
    help="A body that holds the event loop for this long ends the process; others take over what "
    "it was at.",
)
@click.option(
    "--max-jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Stop after so many attempts, of assets and jobs; with --processes another begins.",
)
@click.option(
    "--max-memory",
    metavar="SIZE",
    callback=read_size,
    help="Stop once the process uses so much memory (512MB, 2GB); with --processes another begins.",
)
@click.option(
    "--http",
    metavar="[HOST]:PORT",
    callback=read_address,
    help="Answer an orchestrator there: /live, /health, and /metrics for Prometheus. Of several "
    "--processes the next one answers on the next port.",
)
@click.option("--supervised", is_flag=True, hidden=True)  # ends when its standard input does
@pass_settings
def worker_command(
    settings: Settings,
    *,
    queues: Sequence[str],
    concurrency: int,
    processes: int,
    child_processes: int | None,
    drain: bool,
    shutdown_timeout: timedelta,
    lease: timedelta,
    hang_limit: timedelta,
    max_jobs: int | None,
    max_memory: int | None,
    http: tuple[str, int] | None,
    supervised: bool,
) -> ExitCode:
    """
    Work on what was enqueued, until stopped; several workers share the work.

    A stop (SIGTERM, Ctrl-C) takes no more work, waits for what runs, and exits with 0. A second one
    hands back at once what runs, and exits with 143 or 130. A database that is away is waited for:
    at the start for a minute, at work for as long as it takes.
    """
    if not LEASES[0] <= lease <= LEASES[1]:
        raise click.BadParameter("expected 1s to 25s", param_hint="--lease")
    if hang_limit < SHORTEST_HANG_LIMIT:
        raise click.BadParameter("expected 1s or more", param_hint="--hang-limit")
    given = _read_queues(queues, concurrency)
    options = WorkerOptions(
        given,
        drain=drain,
        lease=lease,
        shutdown_timeout=shutdown_timeout,
        hang_limit=hang_limit,
        max_jobs=max_jobs,
        max_memory=max_memory,
    )
    if child_processes is not None:
        options = replace(options, child_processes=child_processes)

    async def alone() -> ExitCode:
        async with opened(settings, patient=True) as app, answering_at(settings, app, http):
            served = given or dict.fromkeys(_named_queues(app), concurrency)
            note(settings, f"worker {os.getpid()}: {_served(served)}")
            if unnamed := sorted(served.keys() - {*_named_queues(app)}):
                note(settings, _unnamed(unnamed, _named_queues(app)))
            worker = app.worker(replace(options, queues=served))
            return await work_until_stopped(
                settings, worker, shutdown_timeout, supervised=supervised
            )

    async def several() -> ExitCode:
        with bound(settings) as app:
            await patiently(app.store.open)  # what would stop each of them is told once, here
            await app.store.close()
            children = WorkerProcesses(app, settings, options, concurrency, http)
            return await children.run(processes)

    return run_async(alone if processes == 1 else several)


async def work_until_stopped(
    settings: Settings, worker: Worker, shutdown_timeout: timedelta, *, supervised: bool = False
) -> ExitCode:
    """Run a worker until it is drained or a signal stops it."""
    patience = shutdown_timeout.total_seconds() + LAST_SECONDS
    working = asyncio.create_task(worker.run())
    loop = asyncio.get_running_loop()
    stops: list[ExitCode] = []

    def stop(code: ExitCode) -> None:
        stops.append(code)
        if len(stops) == 1:
            note(settings, "stopping: no more work is taken; once more to hand back what runs")
            worker.stop()
            loop.call_later(patience, working.cancel)  # the database may be away
            # A body may not let itself be cancelled.
            loop.call_later(patience + LAST_SECONDS, _give_up, code)
        else:
            loop.call_later(LAST_SECONDS, _give_up, code)
            working.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop, ExitCode.TERMINATED)
    loop.add_signal_handler(signal.SIGINT, stop, ExitCode.INTERRUPTED)
    if supervised:
        loop.add_reader(sys.stdin, _end_with_parent, loop, worker)
    try:
        await working
    except asyncio.CancelledError:
        pass  # by ourselves: what it owned was handed back, or will be taken over
    except DatabaseError:
        if not stops:
            raise
    if supervised and worker.is_recycled and not stops:
        return ExitCode.RECYCLED
    return stops[1] if len(stops) > 1 else ExitCode.OK


def _give_up(code: ExitCode) -> None:
    """Say what does not let itself be cancelled, and end without it."""
    for task in asyncio.all_tasks():
        logger.error("Has not ended: %s, at %s", task.get_name(), " > ".join(_places(task)))
    faulthandler.dump_traceback()
    os._exit(code)


def _places(task: asyncio.Task[Any]) -> Iterator[str]:
    """Yield where the task is, and where what it awaits is."""
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        awaited = awaited.cr_await


@asynccontextmanager
async def answering_at(
    settings: Settings, app: FlowStone, address: tuple[str, int] | None
) -> AsyncIterator[None]:
    """Answer an orchestrator for as long as the block runs, if an address was given."""
    if address is None:
        yield
        return
    from flowstone.cli.worker_http import answering  # http.server takes a while to import
    from flowstone.cli.worker_metrics import counting

    host, port = address
    with counting(app) as metrics, answering(app, host, port, metrics) as taken:
        note(settings, f"worker {os.getpid()}: answers http://{host}:{taken}/health")
        yield


def _end_with_parent(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """The other end of our standard input is the supervisor's: it has ended."""
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin)
        worker.stop()


def _read_queues(texts: Sequence[str], concurrency: int) -> dict[str, int]:
    """Read ``etl:10,scatter:50``; a name may have colons, a number follows the last."""
    queues: dict[str, int] = {}
    reader = OptionReader()
    for text in texts:
        for part in text.split(","):
            name, colon, number = part.strip().rpartition(":")
            if not colon or not number.isdecimal():
                name, number = part.strip(), str(concurrency)
            if reader.queue(name) and not 1 <= int(number) <= MOST_SLOTS:
                reader.objections.append(f"queue {name!r}: give 1 to {MOST_SLOTS} slots")
            queues[name] = int(number)
    if reader.objections:
        raise InvalidOptionError(f"-q: {reader.objections[0]}")
    return queues


def _named_queues(app: FlowStone) -> list[str]:
    named = {queue or DEFAULT_QUEUE for queue in app.definitions.queues}
    return sorted(named) or [DEFAULT_QUEUE]


def _unnamed(queues: Sequence[str], named: Sequence[str]) -> str:
    """Say which may be misspelt; who enqueues may name others than assets and jobs do."""
    said = ", ".join(f"'{it}'" for it in queues)
    return f"no asset or job names the queue {said}; they name: {', '.join(named)}"


def _served(queues: dict[str, int]) -> str:
    return "serves " + ", ".join(f"{name} ({slots} at once)" for name, slots in queues.items())
