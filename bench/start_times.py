"""
How long a job that is enqueued takes to start on an idle worker in another process.

Both processes read the machine's one clock. Standard library only: peers import it too.
"""

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from statistics import quantiles

from bench.trial import Measurement, TrialError, require_count

STARTED = "started"
WARM_UP = 20
"""Jobs before those that count: the first one waits until its worker is up."""

FIRST_SECONDS = 30.0
START_SECONDS = 10.0
LOOKS, LOOK_SECONDS = 200, 0.05
"""How often, and how long apart, the database is asked whether the last one is finished."""
IDLE_SECONDS = (0.02, 0.04)
"""Between two jobs: their worker has settled the one and waits for the other."""

Enqueue = Callable[[int], Awaitable[int]]
"""Commits one job, and returns `time.time_ns()` of the instant before it asked for the commit."""

Finished = Callable[[], Awaitable[int]]
"""Says how many jobs the database has as finished."""


def tell_start(number: int) -> None:
    """Say, in the body of a job, that it has started."""
    print(STARTED, number, time.time_ns(), flush=True)


async def measure_starts(
    module: str, dsn: str, count: int, enqueue: Enqueue, finished: Finished
) -> list[Measurement]:
    """
    Enqueue one job after another, each for the idle worker that `python -m MODULE work` is.

    Raises:
        TrialError: A job did not start, or is not finished in the database.
    """
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "work", "--dsn", dsn, "--count", "0", stdout=PIPE
    )
    try:
        times = []
        for number in range(WARM_UP + count):
            committed = await enqueue(number)
            limit = START_SECONDS if number else FIRST_SECONDS
            started = await _start_of(worker, number, limit)
            times.append((started - committed) / 1e6)
            await asyncio.sleep(random.uniform(*IDLE_SECONDS))
        await _require_finished(finished, WARM_UP + count)
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()
    return percentiles("start_ms", times[WARM_UP:])


def percentiles(metric: str, milliseconds: list[float]) -> list[Measurement]:
    """Return the median and the 99th percentile."""
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return [
        Measurement(f"{metric}_p50", cuts[49], "ms"),
        Measurement(f"{metric}_p99", cuts[98], "ms"),
    ]


async def _require_finished(finished: Finished, expected: int) -> None:
    for _ in range(LOOKS):
        if await finished() == expected:
            return
        await asyncio.sleep(LOOK_SECONDS)
    require_count(await finished(), expected, "finished")


async def _start_of(worker: Process, number: int, limit: float) -> int:
    assert worker.stdout is not None
    try:
        async with asyncio.timeout(limit):
            while line := await worker.stdout.readline():
                match line.decode(errors="replace").split():
                    case [said, which, at] if said == STARTED and which == str(number):
                        return int(at)
    except TimeoutError:
        message = f"job {number} did not start within {limit:.0f} s"
        raise TrialError(message) from None
    message = f"the worker ended before job {number} started"
    raise TrialError(message)
