# mypy: ignore-errors
# (It runs in the peer's environment, which the type checker does not see.)
"""
No-op jobs in procrastinate: enqueue them, or drain them with one worker process.

Its defaults are its fastest durable settings: a pool of four psycopg connections (C
implementation) and statuses kept; with `concurrency` above one, and `batch_defer_async` to
enqueue. More concurrency, more connections, uvloop and other batch sizes were tried and gave no
more.
"""

import asyncio
import time
from datetime import datetime

from procrastinate import App, PsycopgConnector

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


async def count_jobs(app: App, status: str) -> int:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status = %(status)s",
        status=status,
    )
    return int(row["jobs"])


async def read_time(app: App, query: str) -> datetime:
    row = await app.connector.execute_query_one_async(query)
    return row["at"]


def main() -> None:
    options = trial_arguments(__doc__, ("enqueue", "drain")).parse_args()
    app = build_app(options.dsn)
    phase = enqueue if options.phase == "enqueue" else drain
    measurements = asyncio.run(phase(app, options.count))
    settings = (
        f"concurrency {CONCURRENCY}, {POOL_SIZE} connections;"
        f" {PRODUCERS} producers in batches of {BATCH_SIZE}"
    )
    report("procrastinate", settings, *measurements)


if __name__ == "__main__":
    main()
