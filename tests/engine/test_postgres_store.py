"""The Postgres store keeps the store's contract, like the one in memory."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import asyncpg
import pytest

from flowstone.core.contracts.store import Store
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract import StoreContract
from flowstone.testing.contracts.store_contract_transactions import TransactionsContract
from flowstone.testing.contracts.store_scenario import play
from tests.conftest import a_database

# The clock is the database's own, so time is moved by moving what was written.
SHIFT = """
UPDATE flowstone.procrastinate_jobs SET scheduled_at = scheduled_at - $1::interval
    WHERE scheduled_at < '9999-01-01';
UPDATE flowstone.flowstone_workers
    SET heartbeat_at = heartbeat_at - $1::interval, started_at = started_at - $1::interval;
UPDATE flowstone.flowstone_limit_uses SET used_at = used_at - $1::interval;
UPDATE flowstone.flowstone_pruning SET ended_at = ended_at - $1::interval;
UPDATE flowstone.flowstone_leases SET held_until = held_until - $1::interval;
UPDATE flowstone.flowstone_schedules
    SET next_at = next_at - $1::interval, last_at = last_at - $1::interval,
        paused_at = paused_at - $1::interval, created_at = created_at - $1::interval;
UPDATE flowstone.flowstone_waits
    SET deadline_at = deadline_at - $1::interval, waiting_since = waiting_since - $1::interval;
UPDATE flowstone.flowstone_materializations
    SET started_at = started_at - $1::interval, finished_at = finished_at - $1::interval,
        enqueued_at = enqueued_at - $1::interval, tick_at = tick_at - $1::interval,
        unique_until = unique_until - $1::interval;
UPDATE flowstone.procrastinate_events SET at = at - $1::interval;
UPDATE flowstone.flowstone_rate_uses SET at = at - $1::interval;
UPDATE flowstone.flowstone_errors SET failed_at = failed_at - $1::interval;
UPDATE flowstone.flowstone_runs
    SET created_at = created_at - $1::interval, finished_at = finished_at - $1::interval
"""


async def shift(pg: asyncpg.Connection, delta: timedelta) -> None:
    async with pg.transaction():
        for statement in SHIFT.split(";"):
            await pg.execute(statement, delta)


TABLES = (
    "flowstone_runs flowstone_materializations flowstone_values flowstone_current "
    "flowstone_lineage flowstone_errors flowstone_reused flowstone_waits flowstone_workers "
    "flowstone_leases flowstone_limits flowstone_limit_slots "
    "flowstone_limit_uses flowstone_schedules flowstone_pruning flowstone_unique_keys "
    "flowstone_queues flowstone_rate_uses "
    "procrastinate_events "
    "procrastinate_jobs procrastinate_workers flowstone_interventions"
).split()


@pytest.fixture(scope="module")
def database(server_dsn: str, template_database: str) -> Iterator[str]:
    """One database for all of these tests; each finds it empty."""
    with a_database(server_dsn, template_database) as dsn:
        yield dsn


class TestPostgresStore(StoreContract, TransactionsContract):
    @pytest.fixture
    async def store(self, database: str) -> AsyncIterator[PostgresStore]:
        store = PostgresStore(database)
        await store.open()
        self.pg = await asyncpg.connect(**for_asyncpg(database))
        yield store
        violations = "SELECT * FROM flowstone.flowstone_unique_violations_v1()"
        assert await self.pg.fetch(violations) == []
        # procrastinate's delete trigger does not name its schema.
        await self.pg.execute("SET search_path TO flowstone")
        await self.pg.execute(";".join(f"DELETE FROM {table}" for table in TABLES))
        await self.pg.close()
        await store.close()

    async def advance(self, store: Store, delta: timedelta) -> None:
        await shift(self.pg, delta)


class TestWhateverHappens:
    @pytest.mark.parametrize("seed", range(5))
    async def test_the_rows_add_up_and_every_run_ends(
        self, dsn: str, pg: asyncpg.Connection, seed: int
    ) -> None:
        async def advance(delta: timedelta) -> None:
            await shift(pg, delta)

        store = PostgresStore(dsn)
        await store.open()
        try:
            await play(store, advance, random.Random(seed), moves=60)
        finally:
            await store.close()
