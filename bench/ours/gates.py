"""
Gates of ours: one run opens them, a client signals them, a worker goes on with them.

Approvals likewise: asked for, decided, gone on with. What is left of both is due at one moment.

Every figure is checked in the public views.
"""

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from time import perf_counter

import asyncpg

from bench.start_times import WARM_UP, measure_starts, percentiles, tell_start
from bench.trial import Measurement, TrialError, peak_rss, report, require_count, trial_arguments
from flowstone import Context, Dep, FlowStone, Pipeline
from flowstone.cli.event_loop import new_event_loop
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate
from flowstone.plugins.checkpoints import (
    NeedsApproval,
    approval,
    approve,
    held_value,
    list_approvals,
)
from flowstone.plugins.signal_gate import Wait, signal, signal_gate
from flowstone.testing import advance, mark_as_test

SLOTS = 500
SENDERS = 32
ONE_BY_ONE = 1_000_000
"""The first partition of the approvals that are decided one by one."""

IDLE_SECONDS = 20.0
SETTLING_SECONDS = 3.0
"""A worker that has just begun looks after this and that."""
TOLD_SECONDS = 12.0
"""A backend that becomes idle tells what it has committed up to ten seconds later."""

BESIDE_SECONDS = 0.5
"""While all deadlines are minded, other work of the same queue comes so often."""

STATUS = "SELECT count(*) FROM flowstone.signal_gates WHERE status = $1"
APPROVALS = "SELECT count(*) FROM flowstone.approvals WHERE status = $1"
EXPIRED = (
    "SELECT count(*) FROM flowstone.approvals WHERE status = 'approved' AND decided_by IS NULL"
)
UNTOLD = "SELECT count(*) FROM flowstone.checkpoints_notices WHERE due_at <= now() + interval '1m'"
IN_ONE_COMMIT = """
SELECT max(rows) FROM (
    SELECT count(*) AS rows FROM flowstone.signal_gate_gates WHERE status = 'timeout' GROUP BY xmin
    UNION ALL
    SELECT count(*) FROM flowstone.checkpoints_approvals WHERE decided_by IS NULL GROUP BY xmin
) commits
"""
ENDED = """
SELECT count(*) FROM flowstone.materializations WHERE status = 'succeeded' AND asset = $1
"""
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

pipeline = Pipeline("bench")


timed_out: set[int] = set()
began_beside: list[int] = []


async def keep(payload: int) -> int:
    return payload


async def late(ctx: Context[int]) -> int:
    timed_out.add(ctx.partition)
    return -1


async def tell(payload: int) -> None:
    tell_start(payload)


@pipeline.asset
@signal_gate(on_signal=keep, timeout="2h", on_timeout=late)
async def open_for_long(ctx: Context[int]) -> Wait:
    return Wait(f"open-{ctx.partition}")


@pipeline.asset
@signal_gate(on_signal=tell, timeout="30d")
async def timed(ctx: Context[int]) -> Wait:
    return Wait(f"timed-{ctx.partition}")


@pipeline.asset
@approval(timeout="2h", on_timeout="approve")
async def trade(ctx: Context[int]) -> NeedsApproval[int]:
    return NeedsApproval(ctx.partition)


@pipeline.asset
async def booked(ctx: Context[int], trade: int = Dep(trade)) -> None:
    tell_start(trade - ONE_BY_ONE)


@pipeline.job
async def beside(number: int) -> None:
    began_beside[number] = time.time_ns()


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
    """
    Let a worker be idle, and count what that costs: commits, and time of its process.

    It has told the notifiers of approvals before that.
    """
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        worker = app.worker(WorkerOptions(queues={"default": SLOTS}))
        working = asyncio.create_task(worker.run())
        untold = 1
        while untold:
            await asyncio.sleep(SETTLING_SECONDS)
            untold = await connection.fetchval(UNTOLD)
        await asyncio.sleep(TOLD_SECONDS)
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


class BareCommits:
    """
    Commits of one row, one before each signal or decision that is timed.

    A disk that stalls now and then makes the tail of both; this tells which.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._milliseconds: list[float] = []

    async def make(self) -> None:
        """Commit one row; its table is there from the first one on."""
        if not self._milliseconds:
            await self._connection.execute("CREATE TABLE IF NOT EXISTS bench_commits (number int)")
        started = perf_counter()
        await self._connection.execute("INSERT INTO bench_commits VALUES (1)")
        self._milliseconds.append((perf_counter() - started) * 1000)

    def measured(self, beside: str) -> list[Measurement]:
        return percentiles(f"{beside}_bare_commit_ms", self._milliseconds[WARM_UP:])


async def send(dsn: str, count: int) -> list[Measurement]:
    """Signal so many from one process, a few at once, with no worker there."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    before = await connection.fetchval(STATUS, "signaled")
    async with FlowStone(pipeline, dsn=dsn) as app:
        started = perf_counter()
        await _by_senders(lambda number: signal(app, f"open-{number}", number), range(count))
        seconds = perf_counter() - started
    require_count(await connection.fetchval(STATUS, "signaled") - before, count, "signaled")
    await connection.close()
    return [Measurement("signals_per_s", count / seconds, "signals/s")]


async def start(dsn: str, count: int) -> list[Measurement]:
    """Signal one by one, for a worker that is idle but for the gates that it waits at."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    bare = BareCommits(connection)
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue_many([timed], over=range(WARM_UP + count))
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()

        async def signal_one(number: int) -> int:
            await bare.make()
            asked = time.time_ns()
            await signal(app, f"timed-{number}", number)
            return asked

        async def succeeded() -> int:
            found: int = await connection.fetchval(ENDED, timed.full_name)
            return found

        measured = await measure_starts("bench.ours.gates", dsn, count, signal_one, succeeded)
    await connection.close()
    measured = [Measurement(f"signal_to_{it.metric}", it.value, it.unit) for it in measured]
    return [*measured, *bare.measured("signal")]


async def finish(dsn: str, count: int) -> list[Measurement]:
    """Let a worker go on with so many, which were signaled."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    before = await connection.fetchval(ENDED, open_for_long.full_name)
    require_count(before, 0, "gone on before")
    async with FlowStone(pipeline, dsn=dsn) as app:
        started = perf_counter()
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
        seconds = perf_counter() - started
    ended = await connection.fetchval(ENDED, open_for_long.full_name)
    require_count(ended, count, "gone on")
    await connection.close()
    return [Measurement("continued_per_s", count / seconds, "gates/s")]


async def ask(dsn: str, count: int) -> list[Measurement]:
    """Ask for so many approvals in one run, with one worker."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue_many([trade], over=range(count))
        started = perf_counter()
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
        seconds = perf_counter() - started
    require_count(await connection.fetchval(APPROVALS, "pending"), count, "asked for")
    await connection.close()
    return [Measurement("approvals_asked_per_s", count / seconds, "approvals/s")]


async def decide(dsn: str, count: int) -> list[Measurement]:
    """Decide so many from one process, a few at once, and let all of them go on."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    before = await connection.fetchval(ENDED, trade.full_name)
    async with FlowStone(pipeline, dsn=dsn) as app:
        waiting = await list_approvals(app, limit=count)
        started = perf_counter()
        await _by_senders(lambda it: approve(app, it, by="ann"), [it.id for it in waiting])
        seconds = perf_counter() - started
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
    ended = await connection.fetchval(ENDED, trade.full_name) - before
    require_count(ended, count, "approved")
    await connection.close()
    return [Measurement("decisions_per_s", count / seconds, "decisions/s")]


async def decide_one_by_one(dsn: str, count: int) -> list[Measurement]:
    """Approve one by one, for an idle worker that goes on with what depends on it."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    bare = BareCommits(connection)
    async with FlowStone(pipeline, dsn=dsn) as app:
        total = WARM_UP + count
        await app.enqueue_many([booked], over=range(ONE_BY_ONE, ONE_BY_ONE + total))
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
        waiting = await list_approvals(app, limit=total)
        ids = {held_value(app, it): it.id for it in waiting}

        async def approve_one(number: int) -> int:
            await bare.make()
            asked = time.time_ns()
            await approve(app, ids[ONE_BY_ONE + number], by="ann")
            return asked

        async def succeeded() -> int:
            found: int = await connection.fetchval(ENDED, booked.full_name)
            return found

        measured = await measure_starts("bench.ours.gates", dsn, count, approve_one, succeeded)
    await connection.close()
    measured = [Measurement(f"decision_to_{it.metric}", it.value, it.unit) for it in measured]
    return [*measured, *bare.measured("decision")]


async def sweep(dsn: str, count: int) -> list[Measurement]:
    """Let the deadlines of all that is open pass, so many, and a worker come only then."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    gates = await connection.fetchval(STATUS, "waiting")
    ended = await connection.fetchval(ENDED, trade.full_name)
    async with FlowStone(pipeline, dsn=dsn) as app:
        await mark_as_test(dsn)
        await advance(app, "3h")
        enqueued = []
        working = asyncio.create_task(
            app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
        )
        started = perf_counter()
        while not working.done():
            began_beside.append(0)
            enqueued.append(time.time_ns())
            await app.enqueue(beside.with_(number=len(enqueued) - 1))
            await asyncio.wait([working], timeout=BESIDE_SECONDS)
        await working
        seconds = perf_counter() - started
        await app.worker(WorkerOptions(queues={"default": SLOTS}, drain=True)).run()
    expired = await connection.fetchval(EXPIRED)
    require_count(await connection.fetchval(STATUS, "timeout"), gates, "timed out")
    require_count(gates + expired, count, "swept")
    require_count(len(timed_out), gates, "told that they are late")
    gone_on = await connection.fetchval(ENDED, trade.full_name) - ended
    require_count(gone_on, expired, "gone on with")
    in_one = await connection.fetchval(IN_ONE_COMMIT)
    await connection.close()
    waits = [(began - at) / 1e6 for at, began in zip(enqueued, began_beside, strict=True)]
    return [
        Measurement("swept_per_s", count / seconds, "deadlines/s"),
        Measurement("swept_in_one_commit", in_one, "rows"),
        Measurement("beside_sweep_start_ms_p50", median(waits), "ms"),
        Measurement("beside_sweep_start_ms_max", max(waits), "ms"),
    ]


async def work(dsn: str) -> list[Measurement]:
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.worker(WorkerOptions(queues={"default": SLOTS})).run()
    return []


async def _by_senders(send: Callable[[int], Awaitable[object]], numbers: Iterable[int]) -> None:
    """Send all of it, as many at once as there are senders."""
    left = iter(numbers)

    async def sender() -> None:
        for number in left:
            await send(number)

    await asyncio.gather(*(sender() for _ in range(SENDERS)))


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
        case "ask":
            return await ask(dsn, count)
        case "idle-open":
            return await idle(dsn, "idle_open")
        case "signal":
            return await send(dsn, count)
        case "start":
            return await start(dsn, count)
        case "finish":
            return await finish(dsn, count)
        case "decide":
            return await decide(dsn, count)
        case "decide-one-by-one":
            return await decide_one_by_one(dsn, count)
        case "sweep":
            return await sweep(dsn, count)
        case "work":
            return await work(dsn)
        case _:
            raise TrialError(f"there is no phase {phase}")


PHASES = (
    *("idle-empty", "open", "ask", "idle-open", "start", "decide-one-by-one", "signal", "finish"),
    *("decide", "sweep", "work"),
)


def main() -> None:
    options = trial_arguments(__doc__, PHASES).parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        measurements = runner.run(run_phase(options.phase, options.dsn, options.count))
    report("flowstone", f"one worker, {SLOTS} slots; {SENDERS} senders", *measurements)


if __name__ == "__main__":
    main()
