"""What others did is noted by triggers, and a note is gone once it was seen to."""

import asyncpg
import procrastinate
import pytest
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import JobManager

from flowstone.core.status import RunStatus
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    Worker,
    cancelled,
    new_run,
    new_worker,
    retried,
    run_status,
    succeeded,
    waited,
)
from tests.engine.reconcile.meddling import finish, finishes_all, outcomes

NOTES = "SELECT count(*) FROM flowstone.flowstone_interventions"


ROWS_READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
"""


class TestNotes:
    async def test_our_own_work_leaves_none(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": [], "d": [], "e": []})
        claims = await worker.claim()
        await worker.settle(
            succeeded(claims["a"]),
            retried(claims["c"]),
            waited(claims["d"]),
            cancelled(claims["e"]),
        )
        await store.cancel_run(run.id)
        await new_run(store, {"a": []})
        await worker.claims()
        await store.unregister_worker(worker.id)
        assert (await store.rescue(max_rescues=5)) == []

        assert await pg.fetchval(NOTES) == 0

    async def test_nor_do_others_with_jobs_of_their_own_or_that_have_ended(
        self, store: PostgresStore, others: procrastinate.App, pg: asyncpg.Connection
    ) -> None:
        await finishes_all(await _with_a_run(store))
        jobs = others.job_manager
        for _ in range(2):
            await others.configure_task("theirs", queue="q").defer_async()
        id_ = (await jobs.fetch_job(["q"], await jobs.register_worker())).id  # type: ignore[union-attr]
        await finish(jobs, id_ or 0, JobStatus.FAILED)
        await pg.execute("DELETE FROM procrastinate_jobs")

        assert await pg.fetchval(NOTES) == 0

    async def test_are_gone_when_they_were_seen_to(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await jobs.cancel_job_by_id_async(run["a"])
        assert await pg.fetchval(NOTES) == 1

        await store.reconcile()

        assert await pg.fetchval(NOTES) == 0
        assert await outcomes(store) == {}

    async def test_of_a_job_that_somebody_holds_are_kept_for_the_next_time(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": [], "b": []})
        for name in "ab":
            await jobs.cancel_job_by_id_async(run[name])
        async with pg.transaction():
            await pg.execute("SELECT FROM procrastinate_jobs WHERE id = $1 FOR UPDATE", run["a"])
            assert await outcomes(store) == {run["b"]: "cancelled"}

        assert await outcomes(store) == {run["a"]: "cancelled"}

    async def test_more_than_one_transaction_takes_are_seen_to_in_several(
        self, store: PostgresStore, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowstone.engine.store.MOST_NOTES", 2)
        run = await new_run(store, {name: [] for name in "abcde"})
        await pg.execute("UPDATE procrastinate_jobs SET status = 'cancelled'")

        assert [len(await store.reconcile()) for _ in range(4)] == [2, 2, 1, 0]
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def test_are_written_for_a_role_that_may_not_see_our_tables(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        role = f"stranger_{await pg.fetchval('SELECT current_database()')}"
        await pg.execute(f"CREATE ROLE {role}")
        try:
            await pg.execute(
                f"GRANT USAGE ON SCHEMA flowstone TO {role};"
                f"GRANT ALL ON procrastinate_jobs, procrastinate_events TO {role};"
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA flowstone TO {role}"
            )
            async with pg.transaction():
                await pg.execute(f"SET LOCAL ROLE {role}")
                await pg.execute("UPDATE procrastinate_jobs SET status = 'cancelled'")
        finally:
            await pg.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

        assert await outcomes(store) == {run["a"]: "cancelled"}

    async def test_cost_nothing_when_there_are_none_however_much_waits(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute(
            """
            INSERT INTO procrastinate_jobs (id, queue_name, task_name)
            SELECT i, 'q', 'flowstone:materialize' FROM generate_series(100001, 120000) i;
            INSERT INTO flowstone_materializations (
                id, run_id, asset, partition, queue, priority, status, unmet, inputs, follows,
                dependents, optional_dependents, reason
            )
            SELECT i, 1, 'a', i, 'q', 0, 'ready', 0, '{}', '{}', '{}', '{}', ''
            FROM generate_series(100001, 120000) i
            """
        )
        async with pg.transaction():
            before = await pg.fetchval(ROWS_READ)  # what is not reported yet counts, too
            assert await pg.fetch("SELECT * FROM flowstone_reconcile_v1(1000)") == []

            assert await pg.fetchval(ROWS_READ) == before


async def _with_a_run(store: PostgresStore) -> Worker:
    await new_run(store, {"a": [], "b": ["a"]})
    return await new_worker(store)
