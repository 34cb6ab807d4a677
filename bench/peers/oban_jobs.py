# mypy: ignore-errors
# (It runs in the peer's environment, which the type checker does not see.)
"""
No-op jobs in oban-py, its open-source edition: enqueue them, drain them, start them one by one.

Its own command line's set-up: psycopg, uvloop where it is installed, a pool of ten connections, a
producer for each queue that acknowledges in one transaction with the next fetch. A limit of 500 was
its fastest here, of 50 to 2,000; more queues in the process, or more connections, gave no more.
"""

import asyncio
import time

import uvloop
from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

from bench.start_times import measure_starts, tell_start
from bench.trial import Measurement, TrialError, peak_rss, report, require_count, trial_arguments

QUEUE = "bench"
LIMIT = 500
POOL_SIZE = 10
BATCH_SIZE = 1000
PRODUCERS = 2
DRAIN_SECONDS = 150
POLL_SECONDS = 0.1


@worker(queue=QUEUE)
class Noop:
    async def process(self, job) -> None:
        return None


@worker(queue=QUEUE)
class Told:
    async def process(self, job) -> None:
        tell_start(job.args["number"])


async def enqueue(pool: AsyncConnectionPool, count: int) -> list[Measurement]:
    await install(pool)
    oban = Oban(pool=pool)
    jobs = [Noop.new({"number": number}) for number in range(count)]
    batches = [jobs[at : at + BATCH_SIZE] for at in range(0, count, BATCH_SIZE)]

    async def produce(share) -> None:
        for batch in share:
            await oban.enqueue_many(batch)

    started = time.perf_counter()
    await asyncio.gather(*(produce(batches[at::PRODUCERS]) for at in range(PRODUCERS)))
    seconds = time.perf_counter() - started
    require_count(await count_jobs(pool, "available"), count, "available")
    return [Measurement("enqueued_per_s", count / seconds, "jobs/s")]


async def drain(pool: AsyncConnectionPool, count: int) -> list[Measurement]:
    """Drain; no mode of its workers ends by itself, so the end is looked for ten times a second."""
    [started] = await one_row(pool, "SELECT clock_timestamp()")
    async with Oban(pool=pool, queues={QUEUE: LIMIT}):
        limit = time.monotonic() + DRAIN_SECONDS
        while await is_anything_open(pool):
            if time.monotonic() > limit:
                message = f"not drained within {DRAIN_SECONDS} s"
                raise TrialError(message)
            await asyncio.sleep(POLL_SECONDS)
        memory = peak_rss()
    require_count(await count_jobs(pool, "completed"), count, "completed")
    [ended] = await one_row(pool, "SELECT max(completed_at) AT TIME ZONE 'UTC' FROM oban_jobs")
    return [Measurement("jobs_per_s", count / (ended - started).total_seconds(), "jobs/s"), memory]


async def start(pool: AsyncConnectionPool, dsn: str, count: int) -> list[Measurement]:
    await install(pool)
    oban = Oban(pool=pool)

    async def commit_one(number: int) -> int:
        async with pool.connection() as connection, connection.transaction():
            await oban.enqueue(Told.new({"number": number}), conn=connection)
            return time.time_ns()

    async def completed() -> int:
        return await count_jobs(pool, "completed")

    return await measure_starts("bench.peers.oban_jobs", dsn, count, commit_one, completed)


async def work(pool: AsyncConnectionPool) -> list[Measurement]:
    async with Oban(pool=pool, queues={QUEUE: LIMIT}):
        await asyncio.Event().wait()
    return []


async def is_anything_open(pool: AsyncConnectionPool) -> bool:
    [found] = await one_row(
        pool, "SELECT EXISTS (SELECT FROM oban_jobs WHERE state IN ('available', 'executing'))"
    )
    return found


async def count_jobs(pool: AsyncConnectionPool, state: str) -> int:
    [count] = await one_row(
        pool, "SELECT count(*) FROM oban_jobs WHERE state::text = %(state)s", {"state": state}
    )
    return count


async def one_row(pool: AsyncConnectionPool, query: str, arguments=None):
    async with pool.connection() as connection:
        cursor = await connection.execute(query, arguments)
        return await cursor.fetchone()


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    pool = await Oban.create_pool(dsn, max_size=POOL_SIZE)
    async with pool:
        match phase:
            case "enqueue":
                return await enqueue(pool, count)
            case "drain":
                return await drain(pool, count)
            case "start":
                return await start(pool, dsn, count)
            case _:
                return await work(pool)


def main() -> None:
    options = trial_arguments(__doc__, ("enqueue", "drain", "start", "work")).parse_args()
    measurements = uvloop.run(run_phase(options.phase, options.dsn, options.count))
    settings = (
        f"psycopg, uvloop, {POOL_SIZE} connections; limit {LIMIT};"
        f" {PRODUCERS} producers in batches of {BATCH_SIZE}"
    )
    report("oban", settings, *measurements)


if __name__ == "__main__":
    main()
