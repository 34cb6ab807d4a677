# mypy: ignore-errors
# (It runs in the peer's environment, which the type checker does not see.)
"""
No-op jobs in pgqueuer: enqueue them, drain them with one worker process, start them one by one.

As its guides say: durable tables (its default), `pgq autovac` after the installation, asyncpg,
uvloop as its own command line uses it, a pool for producers, and for the worker several queue
managers with a connection each and large batches. Three managers with 200 a batch were its
fastest here, of one to eight with ten to a thousand. One by one, they start on one manager.
"""

import asyncio
import time
from contextlib import AsyncExitStack

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.start_times import measure_starts, tell_start
from bench.trial import Measurement, peak_rss, report, require_count, trial_arguments

ENTRYPOINT = "noop"
TOLD = "told"
MANAGERS = 3
CLAIM_SIZE = 200
BATCH_SIZE = 1000
PRODUCERS = 2


async def enqueue(dsn: str, count: int) -> list[Measurement]:
    async with asyncpg.create_pool(dsn, min_size=PRODUCERS, max_size=PRODUCERS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        await queries.optimize_autovacuum()
        payloads = [b"%d" % number for number in range(count)]
        batches = [payloads[at : at + BATCH_SIZE] for at in range(0, count, BATCH_SIZE)]

        async def produce(share: list[list[bytes]]) -> None:
            for batch in share:
                await queries.enqueue([ENTRYPOINT] * len(batch), batch, [0] * len(batch))

        started = time.perf_counter()
        await asyncio.gather(*(produce(batches[at::PRODUCERS]) for at in range(PRODUCERS)))
        seconds = time.perf_counter() - started
        queued = await pool.fetchval("SELECT count(*) FROM pgqueuer WHERE status = 'queued'")
    require_count(queued, count, "queued")
    return [Measurement("enqueued_per_s", count / seconds, "jobs/s")]


async def drain(dsn: str, count: int) -> list[Measurement]:
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(MANAGERS):
            connection = await asyncpg.connect(dsn)
            stack.push_async_callback(connection.close)
            connections.append(connection)
        workers = [build_worker(connection) for connection in connections]

        started = await connections[0].fetchval("SELECT clock_timestamp()")
        await asyncio.gather(
            *(
                worker.run(batch_size=CLAIM_SIZE, mode=QueueExecutionMode.drain)
                for worker in workers
            )
        )
        memory = peak_rss()
        finished, ended = await connections[0].fetchrow(
            "SELECT count(*), max(created) FROM pgqueuer_log WHERE status = 'successful'"
        )
    require_count(finished, count, "successful")
    seconds = (ended - started).total_seconds()
    return [Measurement("jobs_per_s", count / seconds, "jobs/s"), memory]


async def start(dsn: str, count: int) -> list[Measurement]:
    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()

    async def commit_one(number: int) -> int:
        async with connection.transaction():
            await queries.enqueue([TOLD], [b"%d" % number], [0])
            return time.time_ns()

    async def successful() -> int:
        return await connection.fetchval(
            "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
        )

    measured = await measure_starts("bench.peers.pgqueuer_jobs", dsn, count, commit_one, successful)
    await connection.close()
    return measured


async def work(dsn: str) -> list[Measurement]:
    await build_worker(await asyncpg.connect(dsn)).run(batch_size=CLAIM_SIZE)
    return []


def build_worker(connection: asyncpg.Connection) -> PgQueuer:
    worker = PgQueuer(AsyncpgDriver(connection))

    @worker.entrypoint(ENTRYPOINT)
    async def noop(job: Job) -> None:
        return None

    @worker.entrypoint(TOLD)
    async def told(job: Job) -> None:
        tell_start(int(job.payload))

    return worker


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    match phase:
        case "enqueue":
            return await enqueue(dsn, count)
        case "drain":
            return await drain(dsn, count)
        case "start":
            return await start(dsn, count)
        case _:
            return await work(dsn)


def main() -> None:
    options = trial_arguments(__doc__, ("enqueue", "drain", "start", "work")).parse_args()
    measurements = uvloop.run(run_phase(options.phase, options.dsn, options.count))
    settings = (
        f"durable tables, asyncpg, uvloop; {MANAGERS} managers claim {CLAIM_SIZE};"
        f" {PRODUCERS} producers in batches of {BATCH_SIZE}"
    )
    report("pgqueuer", settings, *measurements)


if __name__ == "__main__":
    main()
