"""Who prunes waits for nobody, and nobody loses what he does meanwhile."""

import asyncio
from datetime import timedelta

import asyncpg

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_pruning import DAY, finish, is_kept, prune
from flowstone.testing.contracts.store_runs import (
    Worker,
    create,
    new_run,
    planned,
)
from tests.application.stage import eventually
from tests.engine.test_postgres_store import shift

MS = timedelta(milliseconds=1)


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
