"""Pruning among others: locks, deaths, other people's jobs, and tables that must not grow."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from flowstone.core.contracts.store import Pruned
from flowstone.core.errors import DatabaseError
from flowstone.core.retention import Retention
from flowstone.engine.store import PostgresStore
from flowstone.engine.table_sizes import BOUNDS, table_sizes
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_contract_pruned_jobs import ended, kept
from flowstone.testing.contracts.store_contract_pruning import DAY, POLICY, finish, is_kept, prune
from flowstone.testing.contracts.store_runs import (
    Worker,
    create,
    materialized,
    new_run,
    new_worker,
    planned,
    snoozed,
    succeeded,
)
from tests.application.stage import eventually
from tests.engine.test_postgres_store import shift

MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


@pytest.fixture
async def worker(store: PostgresStore) -> Worker:
    return await new_worker(store)


async def rows(pg: asyncpg.Connection) -> dict[str, int]:
    tables = await pg.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'flowstone' ORDER BY 1"
    )
    return {
        table["name"]: await pg.fetchval(f"SELECT count(*) FROM flowstone.{table['name']}")
        for table in tables
    }


async def test_nothing_is_left_of_what_is_kept_no_longer(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    for _ in range(3):
        await new_run(store, {"a": [], "b": ["a"]})
        await enqueued(store, *[new_job()] * 3)
        await finish(worker)
    await store.hold_lease("once", "somebody", DAY)
    await shift(pg, 100 * DAY)
    await store.unregister_worker(worker.id)

    await prune(store)

    left = {name: count for name, count in (await rows(pg)).items() if count}
    assert left == {
        "alembic_version": 1,
        "flowstone_materializations": 2,
        "flowstone_current": 2,
        "flowstone_values": 2,
        "flowstone_lineage": 1,
        "flowstone_pruning": 10,
    }


class TestLocks:
    async def test_a_locked_job_keeps_its_run_and_no_other(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        runs = [await new_run(store, {"a": []}) for _ in range(5)]
        await finish(worker)
        await shift(pg, 31 * DAY)
        lock = pg.transaction()
        await lock.start()
        await pg.execute(
            "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE", runs[2]["a"]
        )

        await prune(store)
        while_locked = [await is_kept(store, run.id) for run in runs]
        await lock.rollback()
        await prune(store)

        assert while_locked == [False, False, True, False, False]
        assert not await is_kept(store, runs[2].id)

    async def test_a_job_that_somebody_put_back_to_work_keeps_its_run(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await finish(worker)
        await shift(pg, 31 * DAY)
        await pg.execute("UPDATE flowstone.procrastinate_jobs SET status = 'todo'")

        await prune(store)

        assert await is_kept(store, run.id)

    async def test_two_may_prune_at_once(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        for _ in range(100):
            await new_run(store, {"a": [], "b": ["a"]})
        await finish(worker)
        await shift(pg, 31 * DAY)

        pruned = await asyncio.gather(*(prune(store, limit=7) for _ in range(3)))

        assert sum(it.runs for it in pruned) == 100
        assert sum(it.materializations for it in pruned) == 198

    async def test_who_prunes_after_another_does_what_that_one_took_back(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        for _ in range(3):
            await new_run(store, {"a": []})
        await finish(worker)
        await prune(store)
        await shift(pg, 31 * DAY)
        dying = pg.transaction()
        await dying.start()
        await pg.execute(
            "SELECT flowstone.flowstone_prune_v1($1, NULL, NULL, NULL, '{}', '{}', '{}', 1000)",
            DAY // MS,
        )

        pruning = asyncio.create_task(prune(store))
        await eventually(lambda: pg.fetchval(IS_WAITING))
        await dying.rollback()

        assert (await pruning).runs == 3

    async def test_a_repeat_gets_a_new_run_although_the_first_goes_in_this_moment(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        first = await create(store, await planned(store, {"a": []}, dedupe="once"))
        await finish(worker)
        await shift(pg, 31 * DAY)
        again = await planned(store, {"a": []}, dedupe="once")
        await pg.execute(WAIT_AFTER_INSERTING)
        await pg.execute("SELECT pg_advisory_lock(4711)")

        repeating = asyncio.create_task(store.create_run(again))
        await eventually(lambda: pg.fetchval(IS_WAITING))
        await prune(store)
        await pg.execute("SELECT pg_advisory_unlock(4711)")
        created = await repeating

        assert created.created
        assert created.run_id != first.id
        assert not await is_kept(store, first.id)


class TestJobs:
    """What the events do not tell is found by the daily pass."""

    @pytest.mark.parametrize(
        "accident",
        [
            "DELETE FROM flowstone.procrastinate_jobs WHERE id = ANY ($1)",
            "DELETE FROM flowstone.procrastinate_events WHERE job_id = ANY ($1)",
        ],
        ids=["without its row in procrastinate", "without its events"],
    )
    async def test_one_goes(
        self, store: PostgresStore, pg: asyncpg.Connection, accident: str
    ) -> None:
        await pg.execute("SET search_path TO flowstone")
        await prune(store)
        ids = await ended(store, 3)
        await pg.execute(accident, ids[:2])
        await shift(pg, 8 * DAY)

        assert (await prune(store)).jobs == 3
        assert await nothing_of_jobs_is_left(pg)

    async def test_one_that_was_deleted_before_it_ended_is_cancelled_and_goes(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute("SET search_path TO flowstone")
        [job_id] = await enqueued(store)
        await pg.execute("DELETE FROM procrastinate_jobs")
        await store.reconcile()
        assert (await store.jobs([job_id]))[job_id].status == "cancelled"
        await shift(pg, 8 * DAY)

        assert (await prune(store)).jobs == 1
        assert await nothing_of_jobs_is_left(pg)

    async def test_a_locked_one_stays_and_no_other(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        ids = await ended(store, 3)
        await shift(pg, 8 * DAY)
        lock = pg.transaction()
        await lock.start()
        await pg.execute(
            "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE", ids[1]
        )

        await prune(store)
        assert await kept(store, ids) == [ids[1]]
        await lock.rollback()
        await shift(pg, DAY)
        await prune(store)
        assert await kept(store, ids) == []

    async def test_one_that_somebody_put_back_to_work_stays(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        ids = await ended(store)
        await shift(pg, 8 * DAY)
        await pg.execute("UPDATE flowstone.procrastinate_jobs SET status = 'todo'")

        assert (await prune(store)).jobs == 0
        assert await kept(store, ids) == ids

    async def test_one_that_ends_in_a_slow_transaction_is_not_passed_over(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        """Its event has the time of the transaction's begin, which is old enough first."""
        await prune(store)
        ids = await ended(store)
        await pg.execute("UPDATE flowstone.procrastinate_events SET at = at - interval '9 min'")
        await shift(pg, 7 * DAY - 5 * MINUTE)
        await pg.execute("UPDATE flowstone.flowstone_pruning SET ended_at = now()")

        assert (await prune(store)).jobs == 0
        await shift(pg, 6 * MINUTE)
        assert (await prune(store)).jobs == 1
        assert await kept(store, ids) == []

    async def test_one_that_was_ended_by_hand_counts_from_when_that_was_noticed(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        ids = await enqueued(store)
        await pg.execute("UPDATE flowstone.procrastinate_jobs SET status = 'cancelled'")
        await shift(pg, 3 * DAY)
        await store.reconcile()
        await shift(pg, 5 * DAY)
        assert (await prune(store)).jobs == 0
        assert await kept(store, ids) == ids

        await shift(pg, 3 * DAY)
        assert (await prune(store)).jobs == 1

    async def test_what_was_looked_at_is_not_looked_at_again(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await ended(store, 300)
        policy = Retention(jobs="7d", failed_jobs=None, queues={"audit": None})
        await shift(pg, 8 * DAY)
        await ended(store, 300)
        await prune(store, policy)

        position = await pg.fetchval(
            "SELECT after_id FROM flowstone.flowstone_pruning WHERE what = 'jobs'"
        )
        young = await pg.fetchval("SELECT min(id) FROM flowstone.procrastinate_events")
        assert position == young - 1
        assert (await prune(store, policy)).jobs == 0

    async def test_places_of_queues_without_a_period_of_their_own_are_forgotten(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await prune(store, Retention(queues={"a": "1d", "b": "1d"}))
        await shift(pg, 2 * DAY)
        await prune(store, Retention(queues={"b": "1d"}))

        left = await pg.fetch(
            "SELECT DISTINCT what FROM flowstone.flowstone_pruning WHERE what ~ 'jobs of'"
        )
        assert [it["what"] for it in left] == ["jobs of b"]


async def nothing_of_jobs_is_left(pg: asyncpg.Connection) -> bool:
    left = {name for name, count in (await rows(pg)).items() if count}
    return left <= {"alembic_version", "flowstone_pruning", "flowstone_workers"} | {
        "procrastinate_workers"
    }


# Between the insert, which meets the run that is there, and the look at which one that is.
WAIT_AFTER_INSERTING = """
CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(4711);
    PERFORM pg_advisory_unlock_shared(4711);
    RETURN NULL;
END
$$;
CREATE TRIGGER wait AFTER INSERT ON flowstone.flowstone_runs
FOR EACH STATEMENT EXECUTE FUNCTION public.wait()
"""
IS_WAITING = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
)
"""


class TestDeaths:
    @pytest.mark.parametrize("seed", range(3))
    async def test_a_pruner_that_is_killed_half_way_has_lost_nothing(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection, seed: int
    ) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
            await enqueued(store)
        await finish(worker)
        await shift(pg, 31 * DAY)
        current = await pg.fetch("TABLE flowstone.flowstone_current")

        async def kill() -> None:
            for _ in range(20):
                await asyncio.sleep(chance.uniform(0, 0.02))
                await pg.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE query LIKE '%flowstone_prune_v1%' AND state = 'active'
                        AND datname = current_database() AND pid <> pg_backend_pid()"""
                )

        killing = asyncio.create_task(kill())
        is_over = False
        while not is_over:
            is_over = killing.done()  # its last blow may be felt only by the next statement
            with suppress(DatabaseError):
                await store.prune(POLICY, limit=5)
        await prune(store)

        assert await pg.fetch("TABLE flowstone.flowstone_current") == current
        left = await rows(pg)
        assert left["flowstone_runs"] == left["procrastinate_jobs"] == 0
        assert left["procrastinate_events"] == left["flowstone_reused"] == 0
        assert left["flowstone_materializations"] == left["flowstone_values"] == 3
        assert left["flowstone_lineage"] == 2


class TestProcrastinate:
    async def test_jobs_of_your_own_tasks_are_yours(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        await pg.execute("SET search_path TO flowstone")
        await pg.execute(
            """INSERT INTO procrastinate_jobs (queue_name, task_name, status)
            SELECT 'mail', 'send', status
            FROM unnest('{todo,succeeded,failed}'::procrastinate_job_status[]) status"""
        )
        await pg.execute("UPDATE procrastinate_events SET at = at - interval '1 year'")
        await materialized(store, worker, "a")
        await shift(pg, 400 * DAY)

        await prune(store)

        left = await rows(pg)
        assert (left["procrastinate_jobs"], left["procrastinate_events"]) == (3, 1)

    async def test_events_of_a_job_that_never_ends_do_not_pile_up(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        for _ in range(50):
            (claim,) = await worker.claims()
            await worker.settle(snoozed(claim, timedelta(0)))
            await pg.execute(
                """UPDATE flowstone.procrastinate_events SET at = at - interval '1 day'"""
            )
        before = (await rows(pg))["procrastinate_events"]

        for limit in (7, 1000):
            await prune(store, limit=limit)

        left = (await rows(pg))["procrastinate_events"]
        assert before >= 100
        assert 58 <= left <= 62
        (claim,) = await worker.claims()
        await worker.settle(succeeded(claim))
        assert (await store.run(run.id)).status == "succeeded"


async def test_what_a_plugin_attached_goes_with_its_materialization(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    await pg.execute("SET search_path TO flowstone")
    await pg.execute("CREATE TABLE votes (materialization_id bigint PRIMARY KEY)")
    await pg.execute("SELECT flowstone_attach_v1('votes')")
    run = await new_run(store, {"old": [], "a": []})
    await finish(worker)
    await shift(pg, 31 * DAY)
    later = await new_run(store, {"old": []})
    await finish(worker)
    await shift(pg, 2 * DAY)
    await pg.execute("INSERT INTO votes SELECT id FROM flowstone_materializations")

    await prune(store)

    left = {it["materialization_id"] for it in await pg.fetch("SELECT * FROM votes")}
    assert left == {run["a"], later["old"]}


class TestBounds:
    def test_every_table_has_a_policy_or_a_reason_why_it_is_bounded(self, dsn: str) -> None:
        assert {it.table for it in table_sizes(dsn)} == set(BOUNDS)

    @pytest.mark.parametrize("table", BOUNDS)
    def test_the_page_about_operating_names_it(self, table: str) -> None:
        assert f"| `{table}` | {BOUNDS[table]} |" in OPERATING.read_text(encoding="utf-8")

    async def test_sizes_are_those_of_the_tables(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection, dsn: str
    ) -> None:
        await materialized(store, worker, "a")

        found = {it.table: it for it in await asyncio.to_thread(table_sizes, dsn)}

        assert {name: it.row_count for name, it in found.items()} == await rows(pg)
        runs = found["flowstone_runs"]
        assert not runs.is_estimate
        assert 0 < runs.index_bytes < runs.total_bytes


async def test_a_policy_that_keeps_everything_deletes_nothing(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    await materialized(store, worker, "a")
    await materialized(store, worker, "a")
    await shift(pg, 1000 * DAY)
    before = await rows(pg)

    policy = Retention(None, failed=None, values=None, jobs=None, failed_jobs=None)
    assert await prune(store, policy) == Pruned()

    assert await rows(pg) == before
