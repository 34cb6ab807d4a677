"""A statement joins the caller's transaction, whichever driver the caller has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from flowstone.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    InvalidOptionError,
    SchemaVersionError,
)
from flowstone.engine.caller_connection import fetch
from flowstone.engine.dsn import for_asyncpg, for_sqlalchemy
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_unique_jobs import unique_job
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

Caller = Callable[[str], AbstractAsyncContextManager[tuple[Any, Any]]]


@asynccontextmanager
async def asyncpg_connection(dsn: str) -> AsyncIterator[tuple[Any, Any]]:
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection, transaction
    finally:
        await connection.close()


@asynccontextmanager
async def asyncpg_pool(dsn: str) -> AsyncIterator[tuple[Any, Any]]:
    async with (
        asyncpg.create_pool(**for_asyncpg(dsn), min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        transaction = connection.transaction()
        await transaction.start()
        yield connection, transaction


@asynccontextmanager
async def psycopg_connection(dsn: str) -> AsyncIterator[tuple[Any, Any]]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection, connection


@asynccontextmanager
async def sqlalchemy_connection(dsn: str, driver: str) -> AsyncIterator[tuple[Any, Any]]:
    url = for_sqlalchemy(dsn).replace("+psycopg", f"+{driver}")
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection, connection


@asynccontextmanager
async def sqlalchemy_session(dsn: str, driver: str) -> AsyncIterator[tuple[Any, Any]]:
    url = for_sqlalchemy(dsn).replace("+psycopg", f"+{driver}")
    engine = create_async_engine(url, poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session, session


CALLERS: dict[str, Caller] = {
    "asyncpg": asyncpg_connection,
    "asyncpg pool": asyncpg_pool,
    "psycopg": psycopg_connection,
    "sqlalchemy connection on asyncpg": lambda dsn: sqlalchemy_connection(dsn, "asyncpg"),
    "sqlalchemy connection on psycopg": lambda dsn: sqlalchemy_connection(dsn, "psycopg"),
    "sqlalchemy session on asyncpg": lambda dsn: sqlalchemy_session(dsn, "asyncpg"),
    "sqlalchemy session on psycopg": lambda dsn: sqlalchemy_session(dsn, "psycopg"),
}
INSERT = "INSERT INTO notes (text) VALUES ($1::text) RETURNING text, 7 % 4 AS rest, '$' AS sign"


@pytest.fixture(params=list(CALLERS))
def caller(request: pytest.FixtureRequest) -> Caller:
    return CALLERS[request.param]


@pytest.fixture
async def notes(pg: asyncpg.Connection) -> AsyncIterator[Callable[[], Any]]:
    await pg.execute("CREATE TABLE notes (text text CHECK (text <> 'bad'))")

    async def read() -> list[str]:
        return [row["text"] for row in await pg.fetch("SELECT text FROM notes")]

    return read


class TestTheCallersTransaction:
    async def test_a_commit_keeps_what_was_written(
        self, dsn: str, caller: Caller, notes: Callable[[], Any]
    ) -> None:
        async with caller(dsn) as (connection, transaction):
            rows = await fetch(connection, INSERT, "kept")
            before = await notes()
            await transaction.commit()

        assert rows == [{"text": "kept", "rest": 3, "sign": "$"}]
        assert before == []
        assert await notes() == ["kept"]

    async def test_a_rollback_leaves_nothing(
        self, dsn: str, caller: Caller, notes: Callable[[], Any]
    ) -> None:
        async with caller(dsn) as (connection, transaction):
            await fetch(connection, INSERT, "gone")
            await transaction.rollback()

        assert await notes() == []

    async def test_an_exception_in_the_caller_leaves_nothing(
        self, dsn: str, caller: Caller, notes: Callable[[], Any]
    ) -> None:
        async def fail_after_writing() -> None:
            async with caller(dsn) as (connection, _):
                await fetch(connection, INSERT, "gone")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail_after_writing()

        assert await notes() == []


class TestValues:
    async def test_every_driver_sends_and_returns_the_same(self, dsn: str, caller: Caller) -> None:
        statement = (
            "SELECT $1::bigint AS number, $2::text[] AS texts, $3::text::json ->> 'a' AS json, "
            "$4::boolean AS flag, $5::text AS nothing, $6::bigint[] AS empty, $2::text[] AS again"
        )
        async with caller(dsn) as (connection, _):
            rows = await fetch(
                connection, statement, 2**40, ["%s", None, "ä"], '{"a": "{}"}', True, None, []
            )

        texts = ["%s", None, "ä"]
        assert [
            {
                "number": 2**40,
                "texts": texts,
                "json": "{}",
                "flag": True,
                "nothing": None,
                "empty": [],
                "again": texts,
            }
        ] == rows

    async def test_json_survives_a_codec_of_the_callers(self, dsn: str) -> None:
        async with asyncpg_connection(dsn) as (connection, _):
            for name in ("json", "jsonb"):
                await connection.set_type_codec(
                    name, schema="pg_catalog", encoder=repr, decoder=repr
                )
            rows = await fetch(connection, "SELECT ($1::text::jsonb)::text AS json", '{"a": 1}')

        assert rows == [{"json": '{"a": 1}'}]


class TestFailures:
    async def test_a_refused_statement_is_a_database_error(
        self, dsn: str, caller: Caller, notes: Callable[[], Any]
    ) -> None:
        async with caller(dsn) as (connection, _):
            with pytest.raises(DatabaseError) as caught:
                await fetch(connection, INSERT, "bad")

        assert caught.value.sqlstate == "23514"
        assert not caught.value.retryable

    async def test_a_database_without_our_schema_says_what_to_run(
        self, bare_dsn: str, caller: Caller
    ) -> None:
        async with caller(bare_dsn) as (connection, _):
            with pytest.raises(SchemaVersionError, match="flowstone db migrate"):
                await fetch(connection, 'SELECT * FROM "flowstone"."flowstone_anything_v1"()')

    async def test_a_deadlock_says_that_all_of_the_transaction_can_be_run_again(
        self, dsn: str, store: PostgresStore, caller: Caller
    ) -> None:
        async with caller(dsn) as (connection, _), connected(dsn) as other, connected(dsn) as watch:
            await other.execute("BEGIN; SET LOCAL deadlock_timeout = '1min'")
            await store.enqueue([unique_job("a")], conn=other)
            await store.enqueue([unique_job("b")], conn=connection)
            await fetch(connection, "SELECT set_config('deadlock_timeout', '10ms', true)")
            waiting = asyncio.create_task(store.enqueue([unique_job("b")], conn=other))
            await eventually(lambda: behind_a_lock(watch, "flowstone_enqueue_jobs_v1"))

            with pytest.raises(DatabaseError, match="run all of it again") as caught:
                await store.enqueue([unique_job("a")], conn=connection)
            assert caught.value.retryable
            await waiting

    async def test_a_closed_connection_is_out_of_reach(self, dsn: str) -> None:
        async with psycopg_connection(dsn) as (connection, _):
            await connection.close()
            with pytest.raises(DatabaseUnreachableError):
                await fetch(connection, "SELECT 1")

        async with asyncpg_connection(dsn) as (connection, _):
            await connection.close()
            with pytest.raises(DatabaseUnreachableError):
                await fetch(connection, "SELECT 1")


class TestWhatIsNoConnection:
    @pytest.mark.parametrize("conn", [None, "postgresql://", object()])
    async def test_anything_else_is_refused_with_the_list_of_what_is_accepted(
        self, conn: object
    ) -> None:
        with pytest.raises(InvalidOptionError, match="expected an asyncpg connection"):
            await fetch(conn, "SELECT 1")

    async def test_synchronous_connections_are_refused_as_such(self, dsn: str) -> None:
        engine = create_engine(for_sqlalchemy(dsn), poolclass=NullPool)
        with psycopg.connect(dsn) as on_psycopg, engine.connect() as on_sqlalchemy:
            for connection in (on_psycopg, on_sqlalchemy):
                with pytest.raises(InvalidOptionError, match="is synchronous"):
                    await fetch(connection, "SELECT 1")

    async def test_a_pool_has_no_transaction_to_join(self, dsn: str) -> None:
        pools = [
            asyncpg.create_pool(**for_asyncpg(dsn), min_size=0),
            AsyncConnectionPool(dsn, open=False),
            create_async_engine(for_sqlalchemy(dsn)),
        ]
        for pool in pools:
            with pytest.raises(InvalidOptionError, match="taken from it"):
                await fetch(pool, "SELECT 1")

    async def test_a_database_of_another_kind_is_refused_by_name(self) -> None:
        engine = create_async_engine("postgresql+psycopg://nowhere")
        connection = engine.connect()
        connection.sync_engine.dialect.name = "mysql"
        with pytest.raises(InvalidOptionError, match=r"on mysql\+psycopg"):
            await fetch(connection, "SELECT 1")
