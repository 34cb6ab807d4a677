"""Work is left with the caller's own commit, whichever driver he has."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from flowstone.core.errors import InvalidOptionError, RunNotFoundError
from flowstone.engine.dsn import for_asyncpg, for_sqlalchemy
from tests.application.conftest import AppOf, on_postgres
from tests.application.reports import NASTY, pipeline
from tests.application.stage import (
    PostgresStage,
    drain,
    working,
)

Begin = Callable[[str], AbstractAsyncContextManager[tuple[Any, Callable[[], Awaitable[None]]]]]


@asynccontextmanager
async def asyncpg_transaction(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    transaction = connection.transaction()
    await transaction.start()
    yield connection, transaction.commit
    await connection.close()


@asynccontextmanager
async def psycopg_transaction(dsn: str) -> AsyncIterator[Any]:
    connection = await psycopg.AsyncConnection.connect(dsn)
    yield connection, connection.commit
    await connection.close()


@asynccontextmanager
async def sqlalchemy_connection(dsn: str) -> AsyncIterator[Any]:
    engine = create_async_engine(for_sqlalchemy(dsn), poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection, connection.commit


@asynccontextmanager
async def sqlalchemy_session(dsn: str) -> AsyncIterator[Any]:
    url = for_sqlalchemy(dsn).replace("+psycopg", "+asyncpg")
    async with AsyncSession(create_async_engine(url, poolclass=NullPool)) as session:
        yield session, session.commit


DRIVERS: dict[str, Begin] = {
    "asyncpg": asyncpg_transaction,
    "psycopg": psycopg_transaction,
    "sqlalchemy connection": sqlalchemy_connection,
    "sqlalchemy session": sqlalchemy_session,
}


@on_postgres
@pytest.mark.parametrize("begin", DRIVERS.values(), ids=DRIVERS)
class TestInTheCallersTransaction:
    async def test_a_commit_makes_it_run_exactly_once(
        self, app_of: AppOf, stage: PostgresStage, begin: Begin
    ) -> None:
        computed: list[str] = []
        app = await app_of(pipeline(computed))
        async with working(app), begin(stage.dsn) as (connection, commit):
            handle = await app.enqueue("report", conn=connection, partition=NASTY)
            again = await app.enqueue("report", conn=connection, partition="x", dedupe="once")
            repeated = await app.enqueue("report", conn=connection, partition="x", dedupe="once")
            with pytest.raises(RunNotFoundError):
                await handle.status()
            assert await app.store.runs() == []
            assert computed == []

            await commit()

            assert await handle.result(60) == f"report on base of {NASTY}"
            assert await again.result(60) == await repeated.result(10) == "report on base of x"
        assert again.run_id == repeated.run_id
        assert sorted(computed) == [f"base {NASTY}", "base x", "report", "report"]

    async def test_without_a_commit_nothing_is_left(
        self, app_of: AppOf, stage: PostgresStage, begin: Begin
    ) -> None:
        app = await app_of(pipeline())
        async with begin(stage.dsn) as (connection, _):
            handle = await app.enqueue_many(
                ["report"], over=["a", "b"], conn=connection, dedupe="once", config=None
            )

        await drain(app)

        assert await app.store.runs() == []
        with pytest.raises(RunNotFoundError):
            await handle.wait(60)
        assert stage.admin.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)
        assert (await app.enqueue("report", dedupe="once")).created


async def test_what_is_no_connection_is_refused_by_name(app_of: AppOf) -> None:
    app = await app_of(pipeline())

    with pytest.raises(InvalidOptionError, match="conn"):
        await app.enqueue("base", conn=object())

    assert await app.store.runs() == []
