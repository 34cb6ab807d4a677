"""
No-op assets of ours: independent ones enqueued and drained by one worker process, and a chain.

Every figure is checked in the public views: materializations succeeded, current values there, runs
succeeded; of a chain also that its last value counts all of its hops.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from time import perf_counter

import asyncpg

from bench.trial import Measurement, TrialError, peak_rss, report, require_count, trial_arguments
from flowstone import Dep, FlowStone, Pipeline
from flowstone.cli.event_loop import new_event_loop
from flowstone.core.asset import Asset
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate

ASSET_COUNT = 100
CONCURRENCY = 500
QUEUES = {"default": CONCURRENCY}

Assets = Sequence[Asset[..., int]]


def independent_assets(asset_count: int) -> tuple[Pipeline, Assets]:
    pipeline = Pipeline("bench")
    assets = []
    for number in range(asset_count):

        @pipeline.asset(name=f"asset_{number}")
        async def noop() -> int:
            return 1

        assets.append(noop)
    return pipeline, assets


def chained_assets(hop_count: int) -> tuple[Pipeline, Asset[..., int]]:
    pipeline = Pipeline("bench")

    @pipeline.asset(name="hop_1")
    async def first() -> int:
        return 1

    last: Asset[..., int] = first
    for number in range(2, hop_count + 1):

        @pipeline.asset(name=f"hop_{number}")
        async def hop(value: int = Dep(last)) -> int:
            return value + 1

        last = hop
    return pipeline, last


async def enqueue(dsn: str, count: int, asset_count: int) -> list[Measurement]:
    """Make one run of all assets × as many partitions as `count` takes."""
    migrate(dsn)
    pipeline, assets = independent_assets(asset_count)
    async with FlowStone(pipeline, dsn=dsn) as app:
        partitions = range(count // asset_count)
        started = perf_counter()
        await app.enqueue_many(assets, over=partitions)
        seconds = perf_counter() - started
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    ready = await connection.fetchval(
        "SELECT count(*) FROM flowstone.materializations WHERE status = 'ready'"
    )
    await connection.close()
    require_count(ready, count, "ready")
    return [Measurement("enqueued_per_s", count / seconds, "assets/s")]


async def drain(dsn: str, count: int, asset_count: int, metric: str) -> list[Measurement]:
    pipeline, _ = independent_assets(asset_count)
    seconds = await drained_in(dsn, pipeline, count)
    return [Measurement(metric, count / seconds, "assets/s")]


async def chain(dsn: str, count: int) -> list[Measurement]:
    """Run the chain; a hop is the time between two successive assets' ends, by the database."""
    migrate(dsn)
    pipeline, last = chained_assets(count)
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue(last)
    await drained_in(dsn, pipeline, count)
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    value = await connection.fetchval(
        "SELECT value::text FROM flowstone.current_values WHERE asset = $1", last.full_name
    )
    rows = await connection.fetch(
        "SELECT finished_at FROM flowstone.materializations ORDER BY finished_at"
    )
    await connection.close()
    if value != str(count):
        message = f"the chain's value is {value}, not {count}"
        raise TrialError(message)
    hops = [
        (after["finished_at"] - before["finished_at"]).total_seconds()
        for before, after in pairwise(rows)
    ]
    return [
        Measurement("hops_per_s", len(hops) / sum(hops), "hops/s"),
        Measurement("hop_ms_p50", median(hops) * 1000, "ms"),
    ]


async def drained_in(dsn: str, pipeline: Pipeline, count: int) -> float:
    """Drain with one worker; return the seconds until the last asset's end, by the database."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        started: datetime = await connection.fetchval("SELECT clock_timestamp()")
        await app.worker(WorkerOptions(queues=QUEUES, drain=True)).run()
    [row] = await connection.fetch(
        "SELECT (SELECT count(*) FROM flowstone.materializations WHERE status = 'succeeded')"
        "           AS succeeded,"
        "       (SELECT count(*) FROM flowstone.current_values WHERE value IS NOT NULL) AS valued,"
        "       (SELECT count(*) FROM flowstone.runs WHERE status <> 'succeeded') AS open_runs,"
        "       (SELECT max(finished_at) FROM flowstone.materializations) AS ended"
    )
    await connection.close()
    require_count(row["succeeded"], count, "succeeded")
    require_count(row["valued"], count, "current values")
    require_count(row["open_runs"], 0, "runs that have not succeeded")
    return float((row["ended"] - started).total_seconds())


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    match phase:
        case "enqueue":
            return await enqueue(dsn, count, ASSET_COUNT)
        case "enqueue-partitions":
            return await enqueue(dsn, count, 1)
        case "drain":
            return [*await drain(dsn, count, ASSET_COUNT, "assets_per_s"), peak_rss()]
        case "drain-partitions":
            return await drain(dsn, count, 1, "partitions_per_s")
        case _:
            return await chain(dsn, count)


PHASES = ("enqueue", "drain", "enqueue-partitions", "drain-partitions", "chain")


def main() -> None:
    options = trial_arguments(__doc__, PHASES).parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        measurements = runner.run(run_phase(options.phase, options.dsn, options.count))
    report("flowstone", f"one worker, {CONCURRENCY} slots, uvloop", *measurements)


if __name__ == "__main__":
    main()
