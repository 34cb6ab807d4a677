# mypy: ignore-errors
# (It runs in the peer's environment, which the type checker does not see.)
"""
No-op jobs in procrastinate: enqueue them, drain them with one worker process, start them singly.

Its defaults are its fastest durable settings: a pool of four psycopg connections (C
implementation) and statuses kept; with `concurrency` above one, and `batch_defer_async` to
enqueue. More concurrency, more connections, uvloop and other batch sizes were tried and gave no
more.
"""

import asyncio
import time
from datetime import datetime

import psycopg
from procrastinate import App, PsycopgConnector

from bench.start_times import measure_starts, tell_start
from bench.trial import Measurement, peak_rss, report, require_count, trial_arguments

QUEUE = "bench"
CONCURRENCY = 20
POOL_SIZE = 4
BATCH_SIZE = 1000
PRODUCERS = 2


def build_app(dsn: str) -> App:
    connector = PsycopgConnector(conninfo=dsn, min_size=POOL_SIZE, max_size=POOL_SIZE)
    app = App(connector=connector)

    @app.task(name="noop", queue=QUEUE)
    async def noop(number: int) -> int:
        return number

    @app.task(name="told", queue=QUEUE)
    async def told(number: int) -> None:
        tell_start(number)

    return app


async def enqueue(app: App, count: int) -> list[Measurement]:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        arguments = [{"number": number} for number in range(count)]
        batches = [arguments[at : at + BATCH_SIZE] for at in range(0, count, BATCH_SIZE)]

        async def produce(share: list[list[dict[str, int]]]) -> None:
            for batch in share:
                await app.tasks["noop"].batch_defer_async(*batch)

        started = time.perf_counter()
        await asyncio.gather(*(produce(batches[at::PRODUCERS]) for at in range(PRODUCERS)))
        seconds = time.perf_counter() - started
        require_count(await count_jobs(app, "todo"), count, "todo")
    return [Measurement("enqueued_per_s", count / seconds, "jobs/s")]


async def drain(app: App, count: int) -> list[Measurement]:
    async with app.open_async():
        started = await read_time(app, "SELECT clock_timestamp() AS at")
        await app.run_worker_async(
            queues=[QUEUE], concurrency=CONCURRENCY, wait=False, install_signal_handlers=False
        )
        memory = peak_rss()
        require_count(await count_jobs(app, "succeeded"), count, "succeeded")
        ended = await read_time(
            app, "SELECT max(at) AS at FROM procrastinate_events WHERE type = 'succeeded'"
        )
    seconds = (ended - started).total_seconds()
    return [Measurement("jobs_per_s", count / seconds, "jobs/s"), memory]


async def start(app: App, dsn: str, count: int) -> list[Measurement]:
    async with app.open_async(), await psycopg.AsyncConnection.connect(dsn) as connection:
        await app.schema_manager.apply_schema_async()

        async def commit_one(number: int) -> int:
            await app.tasks["told"].configure(connection=connection).defer_async(number=number)
            at = time.time_ns()
            await connection.commit()
            return at

        async def succeeded() -> int:
            return await count_jobs(app, "succeeded")

        return await measure_starts(
            "bench.peers.procrastinate_jobs", dsn, count, commit_one, succeeded
        )


async def work(app: App) -> list[Measurement]:
    async with app.open_async():
        await app.run_worker_async(queues=[QUEUE], concurrency=CONCURRENCY)
    return []


async def count_jobs(app: App, status: str) -> int:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status = %(status)s",
        status=status,
    )
    return int(row["jobs"])


async def read_time(app: App, query: str) -> datetime:
    row = await app.connector.execute_query_one_async(query)
    return row["at"]


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    app = build_app(dsn)
    match phase:
        case "enqueue":
            return await enqueue(app, count)
        case "drain":
            return await drain(app, count)
        case "start":
            return await start(app, dsn, count)
        case _:
            return await work(app)


def main() -> None:
    options = trial_arguments(__doc__, ("enqueue", "drain", "start", "work")).parse_args()
    measurements = asyncio.run(run_phase(options.phase, options.dsn, options.count))
    settings = (
        f"concurrency {CONCURRENCY}, {POOL_SIZE} connections;"
        f" {PRODUCERS} producers in batches of {BATCH_SIZE}"
    )
    report("procrastinate", settings, *measurements)


if __name__ == "__main__":
    main()
