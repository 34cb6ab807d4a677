"""
No-op jobs of ours: enqueued by one call, drained by one worker process, started one by one.

Every figure is checked in the public view of jobs.
"""

import asyncio
import time
from datetime import datetime
from time import perf_counter

import asyncpg

from bench.start_times import measure_starts, tell_start
from bench.trial import Measurement, peak_rss, report, require_count, trial_arguments
from flowstone import FlowStone, Pipeline, Unique
from flowstone.cli.event_loop import new_event_loop
from flowstone.core.job import Job
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate

CONCURRENCY = 500
QUEUES = {"default": CONCURRENCY}
RATE = "1000000/s"
"""A limit that is counted, and never reached."""

SUCCEEDED = """
SELECT count(*) AS succeeded, max(finished_at) AS ended
FROM flowstone.jobs WHERE status = 'succeeded'
"""

pipeline = Pipeline("bench")


@pipeline.job
async def noop(number: int) -> None: ...


@pipeline.job(unique=Unique())
async def once(number: int) -> None: ...


@pipeline.job
async def told(number: int) -> None:
    tell_start(number)


async def enqueue(
    dsn: str,
    count: int,
    job: Job[[int], [int], None, object],
    metric: str,
    *,
    is_limited: bool = False,
) -> list[Measurement]:
    """Make the calls and enqueue them all; that the arguments are bound and checked counts."""
    migrate(dsn)
    async with FlowStone(pipeline, dsn=dsn) as app:
        if is_limited:
            await app.queues.limit("default", max_running=CONCURRENCY, rate=RATE)
        started = perf_counter()
        await app.enqueue_many([job.with_(number) for number in range(count)])
        seconds = perf_counter() - started
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    ready = await connection.fetchval("SELECT count(*) FROM flowstone.jobs WHERE status = 'ready'")
    await connection.close()
    require_count(ready, count, "ready")
    return [Measurement(metric, count / seconds, "jobs/s")]


async def drain(dsn: str, count: int, metric: str) -> list[Measurement]:
    """Drain with one worker; the time ends with the last job's end, by the database."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        started: datetime = await connection.fetchval("SELECT clock_timestamp()")
        await app.worker(WorkerOptions(queues=QUEUES, drain=True)).run()
    [(succeeded, ended)] = await connection.fetch(SUCCEEDED)
    await connection.close()
    require_count(succeeded, count, "succeeded")
    return [Measurement(metric, count / (ended - started).total_seconds(), "jobs/s")]


async def start(dsn: str, count: int) -> list[Measurement]:
    """Enqueue one by one, each in a transaction of its own, for a worker that is idle."""
    migrate(dsn)
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:

        async def commit_one(number: int) -> int:
            async with connection.transaction():
                await app.enqueue(told.with_(number=number), conn=connection)
                return time.time_ns()

        async def succeeded() -> int:
            found: int = await connection.fetchval(SUCCEEDED)
            return found

        measured = await measure_starts("bench.ours.jobs", dsn, count, commit_one, succeeded)
    await connection.close()
    return measured


async def work(dsn: str) -> list[Measurement]:
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.worker(WorkerOptions(queues=QUEUES)).run()
    return []


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    match phase:
        case "enqueue":
            return await enqueue(dsn, count, noop, "enqueued_per_s")
        case "drain":
            return [*await drain(dsn, count, "jobs_per_s"), peak_rss()]
        case "enqueue-unique":
            return await enqueue(dsn, count, once, "unique_enqueued_per_s")
        case "drain-unique":
            return await drain(dsn, count, "unique_jobs_per_s")
        case "enqueue-limited":
            return await enqueue(dsn, count, noop, "limited_enqueued_per_s", is_limited=True)
        case "drain-limited":
            return await drain(dsn, count, "limited_jobs_per_s")
        case "start":
            return await start(dsn, count)
        case _:
            return await work(dsn)


PHASES = (
    "enqueue", "drain", "enqueue-unique", "drain-unique", "enqueue-limited", "drain-limited",
    "start", "work",
)  # fmt: skip


def main() -> None:
    options = trial_arguments(__doc__, PHASES).parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        measurements = runner.run(run_phase(options.phase, options.dsn, options.count))
    report("flowstone", f"one worker, {CONCURRENCY} slots, uvloop; one enqueue_many", *measurements)


if __name__ == "__main__":
    main()
