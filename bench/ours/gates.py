"""
Gates of ours: one run opens them, a client signals them, an idle worker goes on with one.

Every figure is checked in the public views.
"""

import asyncio
import resource
import time
from time import perf_counter

import asyncpg

from bench.start_times import WARM_UP, measure_starts, tell_start
from bench.trial import Measurement, TrialError, peak_rss, report, require_count, trial_arguments
from flowstone import Context, FlowStone, Pipeline
from flowstone.cli.event_loop import new_event_loop
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate
from flowstone.plugins.signal_gate import Wait, signal, signal_gate

SLOTS = 500
SENDERS = 32
IDLE_SECONDS = 20.0
SETTLING_SECONDS = 3.0
"""A worker that has just begun looks after this and that, and backends tell their counts late."""

STATUS = "SELECT count(*) FROM flowstone.signal_gates WHERE status = $1"
SUCCEEDED = """
SELECT count(*) FROM flowstone.materializations WHERE status = 'succeeded' AND asset = 'bench.timed'
"""
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

pipeline = Pipeline("bench")


async def keep(payload: int) -> int:
    return payload


async def tell(payload: int) -> None:
    tell_start(payload)


@pipeline.asset
@signal_gate(on_signal=keep, timeout="30d")
async def open_for_long(ctx: Context[int]) -> Wait:
    return Wait(f"open-{ctx.partition}")


@pipeline.asset
@signal_gate(on_signal=tell, timeout="30d")
async def timed(ctx: Context[int]) -> Wait:
    return Wait(f"timed-{ctx.partition}")


async def open_gates(dsn: str, count: int) -> list[Measurement]:
    """Open so many in one run, with one worker."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue_many([open_for_long], over=range(count))
        started = perf_counter()
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
        seconds = perf_counter() - started
    require_count(await connection.fetchval(STATUS, "waiting"), count, "open")
    busy = await connection.fetchval("SELECT count(*) FROM flowstone.materializations "
                                     "WHERE status IN ('running', 'ready')")  # fmt: skip
    require_count(busy, 0, "holding a slot")
    await connection.close()
    return [Measurement("gates_opened_per_s", count / seconds, "gates/s"), peak_rss()]


async def idle(dsn: str, what: str) -> list[Measurement]:
    """Let a worker be idle, and count what that costs: commits, and time of its process."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        worker = app.worker(WorkerOptions(queues={"default": SLOTS}))
        working = asyncio.create_task(worker.run())
        await asyncio.sleep(SETTLING_SECONDS)
        tasks = len(asyncio.all_tasks())
        commits, cpu = await connection.fetchval(COMMITS), _cpu_seconds()
        await asyncio.sleep(IDLE_SECONDS)
        cpu = _cpu_seconds() - cpu
        commits = await connection.fetchval(COMMITS) - commits
        worker.stop()
        await working
    await connection.close()
    return [
        Measurement(f"{what}_commits_per_s", commits / IDLE_SECONDS, "commits/s"),
        Measurement(f"{what}_cpu_ms_per_s", cpu * 1000 / IDLE_SECONDS, "ms/s"),
        Measurement(f"{what}_tasks", tasks, "tasks"),
    ]


async def send(dsn: str, count: int) -> list[Measurement]:
    """Signal so many from one process, a few at once, with no worker there."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    numbers = iter(range(count))
    async with FlowStone(pipeline, dsn=dsn) as app:

        async def sender() -> None:
            for number in numbers:
                await signal(app, f"open-{number}", number)

        started = perf_counter()
        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        seconds = perf_counter() - started
    require_count(await connection.fetchval(STATUS, "signaled"), count, "signaled")
    await connection.close()
    return [Measurement("signals_per_s", count / seconds, "signals/s")]


async def start(dsn: str, count: int) -> list[Measurement]:
    """Signal one by one, for a worker that is idle but for the gates that it waits at."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue_many([timed], over=range(WARM_UP + count))
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()

        async def signal_one(number: int) -> int:
            asked = time.time_ns()
            await signal(app, f"timed-{number}", number)
            return asked

        async def succeeded() -> int:
            found: int = await connection.fetchval(SUCCEEDED)
            return found

        measured = await measure_starts("bench.ours.gates", dsn, count, signal_one, succeeded)
    await connection.close()
    return [Measurement(f"signal_to_{it.metric}", it.value, it.unit) for it in measured]


async def work(dsn: str) -> list[Measurement]:
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.worker(WorkerOptions(queues={"default": SLOTS})).run()
    return []


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    match phase:
        case "idle-empty":
            migrate(dsn, tables=FlowStone(pipeline).tables)
            return await idle(dsn, "idle_empty")
        case "open":
            return await open_gates(dsn, count)
        case "idle-open":
            return await idle(dsn, "idle_open")
        case "signal":
            return await send(dsn, count)
        case "start":
            return await start(dsn, count)
        case "work":
            return await work(dsn)
        case _:
            raise TrialError(f"there is no phase {phase}")


PHASES = ("idle-empty", "open", "idle-open", "signal", "start", "work")


def main() -> None:
    options = trial_arguments(__doc__, PHASES).parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        measurements = runner.run(run_phase(options.phase, options.dsn, options.count))
    report("flowstone", f"one worker, {SLOTS} slots; {SENDERS} senders", *measurements)


if __name__ == "__main__":
    main()
