"""A store on a database of the test's own, a worker of it, and a transaction beside it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import Worker, new_worker
from tests.scenarios.locks import connected


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def worker(store: PostgresStore) -> Worker:
    return await new_worker(store)


@pytest.fixture
async def open_transaction(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection that has begun a transaction."""
    async with connected(dsn) as connection:
        await connection.execute("BEGIN")
        yield connection
