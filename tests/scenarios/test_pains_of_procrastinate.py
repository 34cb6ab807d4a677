"""
What users of procrastinate have complained about, one test each, named after the issues there.

Each says what answers it here. The numbers are those of procrastinate-org/procrastinate.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import asyncpg
import procrastinate
import pytest
from procrastinate.jobs import Job, Status

from flowstone import Context, Dep, FlowStone, Pipeline
from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.errors import JobFailedError
from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.schema import migrate
from flowstone.testing.contracts.store_runs import QUEUE, new_worker, succeeded
from tests.engine.test_plans import blocks_of, turn
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.errands import (
    broken,
    errands,
    held,
    lone,
    orderly,
    spinning,
    stubborn,
    told,
)
from tests.scenarios.spawned import Spawner

DAY = timedelta(days=1)

TOUCHED = """
SELECT sum(n_tup_upd)::integer AS updated, sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer
FROM pg_stat_xact_user_tables
WHERE relname IN ('procrastinate_jobs', 'flowstone_materializations')
"""
CUT_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the one who enqueues; it works on nothing itself."""
    async with FlowStone(errands, dsn=dsn) as app:
        yield app


async def test_1518_740_the_job_of_a_killed_worker_is_taken_over(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    """There it stays in ``doing`` for ever. Here every worker looks for leases that have lapsed."""
    victim = spawn.worker(dsn, "errands", lease=LONG)
    job = await app.enqueue(held.with_(gate="first"))
    await eventually(partial(ledger.has_starts, 1))
    victim.kill()
    await give_up(pg, victim)
    ledger.open_gate("first")

    spawn.worker(dsn, "errands", lease=LONG)
    assert await job.result(timeout=60) == 2
    assert len({start.pid for start in ledger.starts()}) == 2


class TestFetching:
    async def test_1599_a_job_for_tomorrow_blocks_none_of_today(
        self, app: FlowStone, dsn: str, spawn: Spawner
    ) -> None:
        """There it is the first of its lock. Here due and timed jobs are in separate heads."""
        tomorrow = await app.enqueue(told.with_(what="tomorrow"), delay=DAY, priority=10)
        today = await app.enqueue(told.with_(what="today"))
        spawn.worker(dsn, "errands")

        assert await today.result(timeout=60) == "told today"
        record = await tomorrow.status()
        assert (record.status, record.attempt) == ("ready", 0)
        assert record.not_before is not None

    async def test_1599_nor_any_of_its_lane(self, app: FlowStone, dsn: str, spawn: Spawner) -> None:
        """There its lock is held by the future. Here a job takes its place when it is due."""
        tomorrow = await app.enqueue(orderly.with_(order=1, what="the end"), delay=DAY)
        today = await app.enqueue(orderly.with_(order=1, what="the begin"))
        spawn.worker(dsn, "errands")

        assert await today.result(timeout=60) == "the begin of 1"
        assert (await tomorrow.status()).status == "ready"

    @pytest.mark.parametrize("delay", [None, DAY], ids=["ended", "for tomorrow"])
    async def test_1242_fetching_costs_what_the_batch_does(
        self, app: FlowStone, pg: asyncpg.Connection, delay: timedelta | None
    ) -> None:
        """There a fetch reads past all that is in its way. Here two heads have what is due."""
        await pg.execute("SET search_path TO flowstone")
        worker = await new_worker(app.store)
        assert worker.id == 1
        blocks = []
        for count in (200, 5000):
            jobs = [NewJob("errands.told", "{}", QUEUE, delay=delay)] * count
            await app.store.enqueue(jobs)
            while delay is None and (claims := await worker.claims(slots=500)):
                await worker.settle(*map(succeeded, claims))
            await app.store.enqueue([NewJob("errands.told", "{}", QUEUE)] * 10)
            blocks.append([await blocks_of(pg, turn(slots=10)) for _ in range(2)][1])

        assert blocks[1] <= 1.2 * blocks[0] + 60


async def test_1446_1543_1432_a_retry_that_meets_a_twin_harms_nobody(
    app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    """There the unique index refuses it, in the worker's face. Here the one that waits stands."""
    worker = spawn.worker(dsn, "errands", slots=2)
    first = await app.enqueue(lone.with_(what="it", gate="fails"))
    await eventually(partial(ledger.has_starts, 1))
    twin = await app.enqueue(lone.with_(what="it", gate="works"), delay=3600)
    again = await app.enqueue(lone.with_(what="it", gate="works"))
    ledger.open_gate("fails")

    assert (again.created, again.job_id) == (False, twin.job_id)
    record = await first.wait(60)
    assert record.status == "cancelled"
    assert "superseded" in str(record.error)
    assert (await twin.status()).status == "ready"
    other = await app.enqueue(told.with_(what="the rest"))
    assert await other.result(timeout=60) == "told the rest"
    assert not worker.has_ended


async def test_1472_a_schedule_goes_by_the_clock_of_its_place(dsn: str) -> None:
    """There cron is UTC. Here a schedule has a time zone, whose clock changes twice a year."""
    p = Pipeline("p")

    @p.job
    async def report() -> None: ...

    async with FlowStone(p, dsn=dsn) as app:
        await app.schedules.add("morning", "0 8 * * *", report.with_(), timezone="Europe/Berlin")
        ticks = await app.schedules.next("morning", 366)

    assert {it.astimezone(ZoneInfo("Europe/Berlin")).hour for it in ticks} == {8}
    assert {it.astimezone(UTC).hour for it in ticks} == {6, 7}


async def test_1454_a_worker_that_leaves_rewrites_no_job_that_has_ended(
    app: FlowStone, pg: asyncpg.Connection
) -> None:
    """There its foreign key sets ``worker_id`` to null in all. Here settling does, in passing."""
    worker = await new_worker(app.store)
    await app.store.enqueue([NewJob("errands.told", "{}", QUEUE)] * 500)
    while claims := await worker.claims(slots=100):
        await worker.settle(*map(succeeded, claims))

    async with pg.transaction():
        await pg.execute("SELECT flowstone.flowstone_unregister_worker_v1($1)", worker.id)
        updated, read = await pg.fetchrow(TOUCHED)

    assert await pg.fetchval("SELECT count(*) FROM flowstone.procrastinate_workers") == 0
    assert updated == 0
    assert read < 50


async def test_1108_1116_a_blip_of_the_database_does_not_end_a_worker(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    """There it is the worker's end. Here it backs off, connects anew and asks what it owns."""
    worker = spawn.worker(dsn, "errands", slots=1)
    before = await app.enqueue(held.with_(gate="blip"))
    await eventually(partial(ledger.has_starts, 1))
    after = await app.enqueue(told.with_(what="afterwards"))
    for _ in range(3):
        await pg.execute(CUT_ALL)
        await asyncio.sleep(0)
    ledger.open_gate("blip")

    assert await before.result(timeout=60) == 1, "it was run again, although nobody died"
    assert await after.result(timeout=60) == "told afterwards"
    assert {start.pid for start in ledger.starts()} == {worker.pid}
    assert not worker.has_ended


async def test_370_1447_results_and_errors_are_kept_in_sql(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    """There nothing is. Here both are rows, with the time it took, for each attempt that failed."""
    spawn.worker(dsn, "errands")
    good = await app.enqueue(told.with_(what="news"))
    bad = await app.enqueue(broken.with_(what="bread"))
    await good.result(timeout=60)
    with pytest.raises(JobFailedError, match="no bread today"):
        await bad.result(timeout=60)

    rows = await pg.fetch(
        "SELECT status, attempt, result #>> '{}' AS result, error_type, error_message, "
        "duration_ms IS NOT NULL AS is_timed FROM flowstone.jobs ORDER BY job_id"
    )
    assert [tuple(it) for it in rows] == [
        ("succeeded", 1, "told news", None, None, True),
        ("failed", 2, None, "ValueError", "Job failed: ValueError: no bread today", True),
    ]
    errors = await pg.fetch(
        "SELECT job_id, attempt, error_message FROM flowstone.errors ORDER BY attempt"
    )
    assert [tuple(it) for it in errors] == [
        (bad.job_id, attempt, "Job failed: ValueError: no bread today") for attempt in (1, 2)
    ]


async def test_1198_what_depends_on_other_work_is_an_asset(dsn: str) -> None:
    """There a job knows no other. Here that is what assets are, in the queues that jobs use."""
    p = Pipeline("p")

    @p.asset
    async def first() -> int:
        return 20

    @p.asset
    async def second(ctx: Context, first: int = Dep(first)) -> int:
        return first + 1

    @p.job
    async def beside(number: int) -> int:
        return number * 2

    async with FlowStone(p, dsn=dsn) as app:
        run = await app.enqueue(second)
        job = await app.enqueue(beside.with_(number=21))
        worker = app.worker()
        working = asyncio.create_task(worker.run())
        try:
            assert await run.result(timeout=60) == 21
            assert await job.result(timeout=60) == 42
        finally:
            worker.stop()
            await working


async def test_1289_no_more_start_than_a_rate_allows(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    """There are no rate limits. Here one holds over all workers, and can be set while they run."""
    await app.queues.limit("default", rate="5/s")
    for _ in range(2):
        spawn.worker(dsn, "errands", slots=10)
    jobs = await app.enqueue_many([told.with_(what=str(number)) for number in range(16)])
    for job in jobs:
        await job.result(timeout=60)

    starts = [row[0] for row in await pg.fetch("SELECT started_at FROM flowstone.jobs ORDER BY 1")]
    sixth_after = [late - early for early, late in zip(starts, starts[5:], strict=False)]
    assert min(sixth_after) >= timedelta(seconds=1)


async def test_1434_the_tables_are_in_a_schema_of_their_own(
    bare_dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    """There it takes a ``search_path`` of every connection. Here names are qualified."""
    await asyncio.to_thread(migrate, bare_dsn, "tenant 7")
    async with FlowStone(errands, dsn=bare_dsn, schema="tenant 7") as app:
        spawn.worker(bare_dsn, "errands", schema="tenant 7")
        assert await (await app.enqueue(told.with_(what="them"))).result(timeout=60) == "told them"

    connection = await asyncpg.connect(bare_dsn)
    try:
        schemas = await connection.fetch(
            "SELECT DISTINCT schemaname AS name FROM pg_tables "
            "WHERE schemaname !~ '^(pg_|information_schema)'"
        )
    finally:
        await connection.close()
    assert [it["name"] for it in schemas] == ["tenant 7"]


class TestCancelledMeanwhile:
    async def test_511_who_finishes_what_was_cancelled_goes_on(
        self, app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
    ) -> None:
        """There finishing raises. Here it is settled; what it returned in spite of it counts."""
        worker = spawn.worker(dsn, "errands", slots=1)
        job = await app.enqueue(stubborn.with_(gate="late"))
        await eventually(partial(ledger.has_starts, 1))
        assert await job.cancel()
        ledger.open_gate("late")
        after = await app.enqueue(told.with_(what="next"))

        assert await job.result(timeout=60) == "done all the same"
        assert await after.result(timeout=60) == "told next"
        assert not worker.has_ended

    async def test_511_also_what_was_finished_by_hand(
        self, app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
    ) -> None:
        """Here the fence refuses it, and the worker goes on."""
        worker = spawn.worker(dsn, "errands", slots=1)
        job = await app.enqueue(stubborn.with_(gate="late"))
        await eventually(partial(ledger.has_starts, 1))
        others = procrastinate.App(connector=AsyncpgConnector(dsn))
        async with others.open_async():
            row = Job(id=job.job_id, queue="", lock=None, queueing_lock=None, task_name="")
            await others.job_manager.finish_job(row, Status.FAILED, delete_job=False)
        assert (await job.wait(60)).status == "failed"
        ledger.open_gate("late")
        after = await app.enqueue(told.with_(what="next"))

        assert await after.result(timeout=60) == "told next"
        assert (await job.status()).status == "failed"
        assert not worker.has_ended


async def test_1161_work_that_holds_the_gil_holds_nothing_else(
    app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    """There are only threads. Here ``executor="process"``: meanwhile the worker does the rest."""
    worker = spawn.worker(dsn, "errands", slots=4, child_processes=1)
    busy = await app.enqueue(spinning.with_(gate="enough"))
    await eventually(partial(ledger.has_starts, 1))
    for number in range(5):
        job = await app.enqueue(told.with_(what=str(number)))
        assert await job.result(timeout=60) == f"told {number}"
    assert (await busy.status()).status == "running"

    ledger.open_gate("enough")
    assert await busy.result(timeout=60) not in (worker.pid, 0)
