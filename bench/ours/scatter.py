"""
Fan-outs of no-op items: computed, inserted, run, settled with a result each, and gathered.

A rate counts from the instant before the worker starts until the barrier's end, by the database's
clock; the items and their results are counted in the public views.
"""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from datetime import datetime

import asyncpg

from bench.trial import Measurement, TrialError, peak_rss, report, require_count, trial_arguments
from flowstone import Asset, Config, FlowStone, Pipeline
from flowstone.cli.event_loop import new_event_loop
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate
from flowstone.plugins.scatter import Results, scatter

QUEUES = {"default": 10}
MOST_AT_ONCE = 1_000
READY, GO = "ready", "go"
READY_SECONDS = 30.0
END_SECONDS = 150.0
LOOK_SECONDS = 0.05

ENDED = "SELECT status, finished_at FROM flowstone.scatter_progress WHERE finished_at IS NOT NULL"
RUN_ENDED = "SELECT FROM flowstone.runs WHERE finished_at IS NOT NULL"
WITH_RESULTS = """
SELECT count(*) FROM flowstone.scattered_items WHERE status = 'completed' AND result IS NOT NULL
"""

pipeline = Pipeline("bench")
first_started_ns: list[int] = []


class Size(Config):
    count: int


def numbers(size: Size) -> Iterable[int]:
    return range(size.count)


async def total(results: Results[int, int]) -> int:
    return sum([it.value async for it in results])


@pipeline.asset
@scatter(numbers, gather=total)
async def noop(number: int) -> int:
    if not first_started_ns:
        first_started_ns.append(time.time_ns())
    return number


@pipeline.asset
@scatter(numbers, gather=total, max_concurrent=MOST_AT_ONCE)
async def short(number: int) -> int:
    await asyncio.sleep(0.001)
    return number


async def fan_out(
    dsn: str, count: int, asset: Asset[..., int], *, processes: int = 0
) -> tuple[float, float]:
    """Let workers do it; return its seconds, and those to the first item where that is known."""
    async with await _enqueued(dsn, count, asset) as app:
        connection = await asyncpg.connect(**for_asyncpg(dsn))
        if processes:
            workers = [await _ready(dsn) for _ in range(processes)]
            started = await _now(connection)
            try:
                for worker in workers:
                    assert worker.stdin is not None
                    worker.stdin.write(f"{GO}\n".encode())
                await _until_ended(connection)
            finally:
                for worker in workers:
                    worker.terminate()
                    await worker.wait()
        else:
            started = await _now(connection)
            await app.worker(WorkerOptions(queues=QUEUES, drain=True)).run()
        [(status, finished)] = await connection.fetch(ENDED)
        if status != "completed":
            message = f"the scatter ended as {status}"
            raise TrialError(message)
        require_count(await connection.fetchval(WITH_RESULTS), count, "completed")
        require_count(await app.get(asset), count * (count - 1) // 2, "the sum of the results")
        await connection.close()
    first = first_started_ns[0] / 1e9 - started.timestamp() if first_started_ns else 0.0
    return (finished - started).total_seconds(), first


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    match phase:
        case "few":
            seconds, _ = await fan_out(dsn, count, noop)
            memory = peak_rss()
            return [
                Measurement("few_items_per_s", count / seconds, "items/s"),
                Measurement("few_rss_mb", memory.value, "MB"),
            ]
        case "many":
            seconds, first = await fan_out(dsn, count, noop)
            return [
                Measurement("items_per_s", count / seconds, "items/s"),
                Measurement("first_item_ms", first * 1000, "ms"),
                peak_rss(),
            ]
        case "million":
            seconds, first = await fan_out(dsn, count, noop)
            return [
                Measurement("million_items_per_s", count / seconds, "items/s"),
                Measurement("million_first_item_ms", first * 1000, "ms"),
                Measurement("million_rss_mb", peak_rss().value, "MB"),
            ]
        case "asynchronous":
            seconds, _ = await fan_out(dsn, count, short)
            return [Measurement("asynchronous_items_per_s", count / seconds, "items/s")]
        case "two-processes":
            seconds, _ = await fan_out(dsn, count, noop, processes=2)
            return [Measurement("two_processes_items_per_s", count / seconds, "items/s")]
        case _:
            return await work(dsn)


async def work(dsn: str) -> list[Measurement]:
    """Be one of several workers: say when ready, start when told, stop when terminated."""
    async with FlowStone(pipeline, dsn=dsn) as app:
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await app.worker(WorkerOptions(queues=QUEUES)).run()
    return []


async def _enqueued(dsn: str, count: int, asset: Asset[..., int]) -> FlowStone:
    app = FlowStone(pipeline, dsn=dsn)
    migrate(dsn, tables=app.tables)
    async with app:
        await app.enqueue(asset, config={"count": count})
    return FlowStone(pipeline, dsn=dsn)


async def _ready(dsn: str) -> Process:
    arguments = ("-m", "bench.ours.scatter", "work", "--dsn", dsn, "--count", "0")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE
    )
    assert worker.stdout is not None
    async with asyncio.timeout(READY_SECONDS):
        if (await worker.stdout.readline()).decode().strip() != READY:
            message = "a worker ended before it was ready"
            raise TrialError(message)
    return worker


async def _until_ended(connection: asyncpg.Connection) -> None:
    for _ in range(round(END_SECONDS / LOOK_SECONDS)):
        if await connection.fetch(RUN_ENDED):
            return
        await asyncio.sleep(LOOK_SECONDS)
    message = f"the run did not end within {END_SECONDS:.0f} s"
    raise TrialError(message)


async def _now(connection: asyncpg.Connection) -> datetime:
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


PHASES = ("few", "many", "million", "asynchronous", "two-processes", "work")


def main() -> None:
    options = trial_arguments(__doc__, PHASES).parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        measurements = runner.run(run_phase(options.phase, options.dsn, options.count))
    settings = "one worker unless two are said, uvloop; results kept and gathered"
    report("flowstone", settings, *measurements)


if __name__ == "__main__":
    main()
