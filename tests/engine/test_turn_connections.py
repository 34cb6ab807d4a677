"""After a server's restart the first statement already succeeds: what is dead is not tried."""

from contextlib import AsyncExitStack

import asyncpg
import pytest

from flowstone.engine.connection_pool import ConnectionPool
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.turn_connections import TurnConnections
from tests.scenarios.eventually import eventually

TERMINATE_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
PID = "SELECT pg_backend_pid()"


async def idle(turns: TurnConnections, count: int) -> list[asyncpg.Connection]:
    """Let so many turns overlap, and return the connections that they leave."""
    async with AsyncExitStack() as stack:
        return [await stack.enter_async_context(turns.one(60)) for _ in range(count)]


async def test_what_died_while_it_was_idle_is_not_used(bare_dsn: str) -> None:
    turns, admin = TurnConnections(bare_dsn), await asyncpg.connect(**for_asyncpg(bare_dsn))
    connections = await idle(turns, 2)

    await admin.execute(TERMINATE_OTHERS)
    await eventually(lambda: all(it.is_closed() for it in connections))

    async with turns.one(60) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await turns.close()
    await admin.close()


async def test_who_loses_one_does_not_try_the_others(bare_dsn: str) -> None:
    turns = TurnConnections(bare_dsn)
    connections = await idle(turns, 2)

    # Nobody has told the other one: it is still open, as behind a network that went silent.
    with pytest.raises(asyncpg.PostgresError):
        async with turns.one(60) as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    assert all(it.is_closed() for it in connections)
    async with turns.one(60) as connection:
        assert connection not in connections
    await turns.close()


async def test_a_refused_statement_costs_no_connection(bare_dsn: str) -> None:
    turns = TurnConnections(bare_dsn)
    (first,) = await idle(turns, 1)

    with pytest.raises(asyncpg.DivisionByZeroError):
        async with turns.one(60) as connection:
            await connection.fetchval("SELECT 1 / 0")

    async with turns.one(60) as connection:
        assert connection is first
    await turns.close()


async def test_a_call_whose_session_is_ended_says_so(bare_dsn: str) -> None:
    pool = ConnectionPool(bare_dsn, 1)
    await pool.open()

    with pytest.raises(asyncpg.PostgresConnectionError, match="administrator"):
        await pool.fetch("SELECT pg_terminate_backend(pg_backend_pid())", limit=60)

    assert [tuple(it) for it in await pool.fetch("SELECT 1", limit=60)] == [(1,)]
    await pool.close()
