"""What connections of the engine are like, whatever a server or a role has for a default."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from psycopg.conninfo import make_conninfo

from flowstone.core.contracts.store import Capacity
from flowstone.engine.connecting import LentConnection, connect
from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import new_worker
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

CLAIM_ONE = """
SELECT flowstone.flowstone_turn_v1(
    {}, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    '{{narrow}}', '{{1}}', NULL, 0
)
"""
LEVEL = "SELECT current_setting('transaction_isolation'), $1::int"


def repeatable(dsn: str) -> str:
    """Return the DSN of the same database, for sessions that have another default."""
    return make_conninfo(dsn, options="-c default_transaction_isolation=repeatable\\ read")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_transactions_are_read_committed(server_dsn: str) -> None:
    dsn = repeatable(server_dsn)

    first, second = await connect(dsn), await connect(dsn)
    lent = await asyncpg.connect(**for_asyncpg(dsn), connection_class=LentConnection)
    for connection in (first, second, lent):
        assert (await connection.fetch(LEVEL, 1))[0][0] == "read committed"
        await connection.close()


async def test_procrastinates_own_are_too(dsn: str) -> None:
    connector = AsyncpgConnector(repeatable(dsn))
    await connector.open_async()
    row = await connector.execute_query_one_async("SHOW transaction_isolation")
    await connector.close_async()

    assert row == {"transaction_isolation": "read committed"}


async def test_who_has_waited_for_a_queue_counts_what_was_claimed_meanwhile(
    dsn: str, pg: asyncpg.Connection
) -> None:
    async with opened(repeatable(dsn)) as store, connected(dsn) as connection:
        await store.limit_queue("narrow", max_running=1)
        one, other = await new_worker(store), await new_worker(store)
        await enqueued(store, new_job(queue="narrow"))
        # A turn that has claimed, and does not commit yet.
        await connection.execute("BEGIN")
        await connection.execute(CLAIM_ONE.format(one.id))
        await enqueued(store, new_job(queue="narrow", priority=1))
        turn = asyncio.create_task(store.turn(other.id, [], Capacity({"narrow": 1})))

        async def is_behind() -> bool:
            return turn.done() or await behind_a_lock(pg, "flowstone_turn_v1")

        await eventually(is_behind)
        await connection.execute("COMMIT")

        assert (await turn).claims == []


async def test_migrations_that_meet_find_each_others_work(bare_dsn: str) -> None:
    dsn = repeatable(bare_dsn)

    applied = await asyncio.gather(*(asyncio.to_thread(migrate, dsn) for _ in range(2)))

    assert sorted(map(bool, applied)) == [False, True]
