"""Our store and an application of procrastinate's on the same tables, with either triggers."""

from collections.abc import AsyncIterator

import asyncpg
import procrastinate
import pytest
from procrastinate.manager import JobManager

from flowstone.engine import triggers
from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.store import PostgresStore


@pytest.fixture(params=["batched", "stock"])
def triggers_of(request: pytest.FixtureRequest, dsn: str) -> str:
    if request.param == "stock":
        triggers.restore(dsn)
    return str(request.param)


@pytest.fixture
async def store(dsn: str, triggers_of: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def others(dsn: str, triggers_of: str) -> AsyncIterator[procrastinate.App]:
    """An application of procrastinate's on the same tables."""
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with app.open_async():
        yield app


@pytest.fixture
def jobs(others: procrastinate.App) -> JobManager:
    return others.job_manager


@pytest.fixture(autouse=True)
async def pg_in_schema(pg: asyncpg.Connection) -> None:
    await pg.execute("SET search_path TO flowstone; SET application_name TO 'psql'")
