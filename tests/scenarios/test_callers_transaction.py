"""What is enqueued in the caller's transaction runs once the caller has committed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from flowstone import FlowStone
from flowstone.engine.dsn import for_asyncpg, for_sqlalchemy, normalize
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import after_held, held, plain
from tests.scenarios.spawned import Spawner

NEVER = 3600.0
"""A poll that does not come: it is the commit that wakes the worker."""

TRACES = """
SELECT
    (SELECT count(*) FROM flowstone.flowstone_runs),
    (SELECT count(*) FROM flowstone.flowstone_materializations),
    (SELECT count(*) FROM flowstone.procrastinate_jobs),
    (SELECT count(*) FROM flowstone.procrastinate_events)
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a transaction of their own."""

    conn: object
    commit: Callable[[], Awaitable[object]]
    rollback: Callable[[], Awaitable[object]]


@asynccontextmanager
async def on_asyncpg(dsn: str) -> AsyncIterator[Caller]:
    conn = await asyncpg.connect(**for_asyncpg(dsn))
    transaction = conn.transaction()
    await transaction.start()
    yield Caller(conn, transaction.commit, transaction.rollback)
    await conn.close()


@asynccontextmanager
async def on_psycopg(dsn: str) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(normalize(dsn)) as conn:
        yield Caller(conn, conn.commit, conn.rollback)


@asynccontextmanager
async def on_sqlalchemy(dsn: str) -> AsyncIterator[Caller]:
    engine = create_async_engine(for_sqlalchemy(dsn))
    async with engine.connect() as conn:
        yield Caller(conn, conn.commit, conn.rollback)
    await engine.dispose()


Opening = Callable[[str], AbstractAsyncContextManager[Caller]]

on_every_driver = pytest.mark.parametrize(
    "opening", [on_asyncpg, on_psycopg, on_sqlalchemy], ids=["asyncpg", "psycopg", "sqlalchemy"]
)


@on_every_driver
async def test_it_runs_at_once_after_the_commit_and_not_before(
    opening: Opening,
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    ledger.open_gate("held-1")
    spawn.worker(dsn, "gated", poll_interval=NEVER, lease=600)
    async with opening(dsn) as caller:
        handle = await app.enqueue(after_held, conn=caller.conn)
        meanwhile = await app.enqueue(plain)
        await until_ended(pg, meanwhile.run_id)
        assert {start.asset for start in ledger.starts()} == {plain.full_name}

        await caller.commit()
        await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)


@on_every_driver
async def test_nothing_is_left_of_what_was_rolled_back(
    opening: Opening,
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    before = await pg.fetchrow(TRACES)
    async with opening(dsn) as caller:
        await app.enqueue(held, conn=caller.conn, dedupe="once")
        await caller.rollback()

    assert await pg.fetchrow(TRACES) == before
    ledger.open_gate("held-1")
    spawn.worker(dsn, "gated", poll_interval=NEVER, lease=600)
    handle = await app.enqueue(held, dedupe="once")
    assert handle.created
    await until_ended(pg, handle.run_id)
    assert len(ledger.starts()) == 1
