"""Jobs that are over go, whatever happened to their rows and events."""

from datetime import timedelta

import asyncpg
import pytest

from flowstone.core.retention import Retention
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued
from flowstone.testing.contracts.store_contract_pruned_jobs import ended, kept
from flowstone.testing.contracts.store_contract_pruning import DAY, prune
from tests.engine.table_rows import rows
from tests.engine.test_postgres_store import shift

MINUTE = timedelta(minutes=1)


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
