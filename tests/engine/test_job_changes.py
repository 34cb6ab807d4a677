"""Changing many jobs by hand on Postgres: locks, procrastinate's rows, and what it reads."""

import asyncio
import json

import asyncpg
import pytest

from flowstone.core.contracts.job_queue import JobChange, JobSelection
from flowstone.core.status import Status
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_job_changes import change, found
from flowstone.testing.contracts.store_contract_jobs import enqueued, ids, job, new_job
from flowstone.testing.contracts.store_runs import failed, new_worker, retried, succeeded
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

LOCK = "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE"
EVENTS = "SELECT type::text FROM flowstone.procrastinate_events WHERE job_id = $1 ORDER BY id"
FAILED = JobSelection(statuses=[Status.FAILED])

# Jobs that have succeeded long ago, newer than all there are.
HISTORY = """
WITH old AS (
    SELECT nextval('flowstone.procrastinate_jobs_id_seq') AS id FROM generate_series(1, $1::integer)
),
job AS (
    INSERT INTO flowstone.procrastinate_jobs (id, queue_name, task_name, status)
    SELECT id, 'default', 'flowstone:materialize', 'succeeded' FROM old
)
INSERT INTO flowstone.flowstone_materializations
    (id, asset, queue, priority, status, unmet, enqueued_at, finished_at, arguments, reason)
SELECT id, 'test.old', 'default', 0, 'succeeded', 0, now(), now(), '{}', 'enqueued' FROM old
"""


async def failures(store: PostgresStore, count: int) -> list[int]:
    made = await enqueued(store, *[new_job()] * count)
    worker = await new_worker(store)
    await worker.settle(*map(failed, await worker.claims()))
    return made


class TestLocks:
    @pytest.mark.parametrize("what", [JobChange.RETRY, JobChange.DELETE])
    async def test_a_job_that_somebody_holds_is_passed_over(
        self, store: PostgresStore, dsn: str, what: JobChange
    ) -> None:
        held, _ = await failures(store, 2)

        async with connected(dsn) as holder, holder.transaction():
            await holder.execute(LOCK, held)
            async with asyncio.timeout(10):
                assert await change(store, what, FAILED) == 1

        assert (await job(store, held)).status is Status.FAILED
        assert await found(store, FAILED) == [held]

    async def test_one_that_is_named_is_waited_for(
        self, store: PostgresStore, dsn: str, pg: asyncpg.Connection
    ) -> None:
        [held] = await failures(store, 1)

        async with connected(dsn) as holder:
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute(LOCK, held)
            retrying = asyncio.create_task(change(store, JobChange.RETRY, JobSelection(ids=[held])))
            await waits_for_a_lock(pg)
            await transaction.rollback()
            assert await asyncio.wait_for(retrying, 10) == 1

    async def test_one_that_is_no_longer_meant_when_it_is_locked_is_left_alone(
        self, store: PostgresStore, dsn: str, pg: asyncpg.Connection
    ) -> None:
        [held] = await failures(store, 1)
        selection = JobSelection(ids=[held], statuses=[Status.FAILED])

        async with connected(dsn) as holder:
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute(LOCK, held)
            deleting = asyncio.create_task(change(store, JobChange.DELETE, selection))
            await waits_for_a_lock(pg)
            await holder.execute(
                "UPDATE flowstone.flowstone_materializations SET status = 'succeeded'"
            )
            await transaction.commit()
            assert await asyncio.wait_for(deleting, 10) == 0

        assert await found(store) == [held]

    async def test_operators_and_workers_at_the_same_jobs_stop_one_another_nowhere(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # Whoever is slow is waited for: what must not come is a deadlock.
        await pg.execute("ALTER FUNCTION flowstone.flowstone_turn_v1 SET lock_timeout TO '1min'")
        made = await enqueued(store, *[new_job()] * 200)

        async def work() -> None:
            worker = await new_worker(store)
            for number in range(15):
                claims = await worker.claims(20)
                ends = [(succeeded, failed, retried)[(it.id + number) % 3](it) for it in claims]
                await worker.settle(*ends)

        async def operate(what: JobChange) -> None:
            for _ in range(10):
                await change(store, what, limit=30)

        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(work())
                group.create_task(operate(JobChange.RETRY))
                group.create_task(operate(JobChange.CANCEL))
        await change(store, JobChange.CANCEL)

        assert await found(store) == made[::-1]
        assert await found(store, JobSelection(statuses=[Status.READY, Status.RUNNING])) == []
        assert await change(store, JobChange.RETRY) == 200
        worker = await new_worker(store)
        assert sorted(ids(await worker.claims(300))) == made


class TestProcrastinatesRows:
    async def test_its_events_tell_of_a_retry(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        [job_id] = await failures(store, 1)
        await change(store, JobChange.RETRY)

        events = [row["type"] for row in await pg.fetch(EVENTS, job_id)]
        assert events == ["deferred", "started", "failed", "retried"]

    async def test_one_that_it_has_pruned_is_made_anew(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        [job_id] = await enqueued(store, new_job(priority=3))
        worker = await new_worker(store)
        [late] = await worker.claims()
        await worker.settle(failed(late))
        await pg.execute("SET search_path TO flowstone; DELETE FROM procrastinate_jobs")

        assert await change(store, JobChange.RETRY) == 1
        [claim] = await worker.claims()
        assert (claim.id, claim.claim) == (job_id, late.claim + 1)

    async def test_one_that_another_worker_has_taken_is_not_retried(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        [job_id] = await failures(store, 1)
        await pg.execute(
            "SET search_path TO flowstone; UPDATE procrastinate_jobs SET status = 'doing'"
        )

        assert await change(store, JobChange.RETRY, dry_run=True) == 0
        assert await change(store, JobChange.RETRY) == 0
        assert (await job(store, job_id)).status is Status.FAILED

    async def test_one_that_it_has_aborted_is_asked_to_stop_no_longer(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await enqueued(store)
        worker = await new_worker(store)
        await worker.claims()
        await pg.execute(
            "SET search_path TO flowstone;"
            " UPDATE procrastinate_jobs SET status = 'aborted', abort_requested = true"
        )
        assert [it.outcome for it in await store.reconcile()] == ["cancelled"]

        await change(store, JobChange.RETRY)
        assert len(await worker.claims()) == 1
        assert await store.aborts(worker.id) == []

    async def test_a_deleted_job_leaves_no_row_anywhere(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await failures(store, 2)
        await enqueued(store)
        await change(store, JobChange.DELETE)

        tables = await pg.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'flowstone'"
            " AND tablename ~ 'jobs|events|materializations|errors|values|waits|interventions'"
        )
        assert len(tables) >= 7
        for table in tables:
            name = f"flowstone.{table['tablename']}"
            assert await pg.fetchval(f"SELECT count(*) FROM {name}") == 0, name


class TestWhatItReads:
    async def test_the_newest_are_read_alone(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        read = []
        for count in (200, 20_000):
            await pg.execute(HISTORY, count)
            read.append(await blocks(pg, "NULL, NULL, NULL, NULL, NULL, NULL, NULL, 20"))

        assert read[1] <= read[0] * 1.2 + 60

    @pytest.mark.parametrize(
        "selection",
        ["NULL, NULL, NULL, '{ready,running}'", "NULL, 'test.mail', NULL, '{failed}'"],
        ids=["what is open", "a name"],
    )
    async def test_a_history_of_others_is_not_read(
        self, store: PostgresStore, pg: asyncpg.Connection, selection: str
    ) -> None:
        await enqueued(store, *[new_job()] * 3)
        few = await blocks(pg, f"{selection}, NULL, NULL, NULL, 20")
        await pg.execute(HISTORY, 20_000)

        assert await blocks(pg, f"{selection}, NULL, NULL, NULL, 20") <= few * 1.2 + 60

    async def test_what_is_rare_in_a_long_history_is_found_in_short_steps(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        rare = await failures(store, 3)
        await pg.execute(HISTORY, 12_000)

        first = await store.change_jobs(JobChange.RETRY, FAILED)
        assert (first.count, first.before) == (0, rare[-1] + 12_000 - 4_999)
        assert await found(store, FAILED) == rare[::-1]
        assert await change(store, JobChange.RETRY, FAILED) == 3


async def waits_for_a_lock(pg: asyncpg.Connection) -> None:
    await eventually(lambda: behind_a_lock(pg, "flowstone_change_jobs_v1"))


async def blocks(pg: asyncpg.Connection, arguments: str) -> int:
    """Return how many blocks a look for jobs touches, the second time."""
    statement = f"SELECT * FROM flowstone.flowstone_find_jobs_v1({arguments})"
    for _ in range(2):
        answer = await pg.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
        )
    plan = json.loads(answer)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
