"""What the drivers raise is said in FlowStone's words, whoever raised it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from flowstone import FlowStone
from flowstone.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    FlowStoneError,
    RunNotFoundError,
    SchemaVersionError,
)
from flowstone.engine.database_errors import (
    Failure,
    WorkerLostError,
    connection_errors,
    database_errors,
    failure_of,
    sqlstate_of,
)
from flowstone.engine.dsn import for_asyncpg, for_sqlalchemy, normalize, with_database

Execute = Callable[[str, str], Coroutine[Any, Any, None]]
AWAY = "postgresql://user@/db?host=/nonexistent"


async def on_asyncpg(dsn: str, statement: str) -> None:
    with connection_errors():
        connection = await asyncpg.connect(**for_asyncpg(dsn))
    try:
        with database_errors():
            await connection.execute(statement)
    finally:
        await connection.close()


async def on_psycopg(dsn: str, statement: str) -> None:
    with database_errors(), psycopg.connect(normalize(dsn)) as connection:
        connection.execute(statement.encode())


async def on_sqlalchemy(dsn: str, statement: str) -> None:
    engine = create_engine(for_sqlalchemy(dsn), poolclass=NullPool)
    with database_errors(), engine.connect() as connection:
        connection.exec_driver_sql(statement.replace("%", "%%"))


async def on_sqlalchemy_and_asyncpg(dsn: str, statement: str) -> None:
    url = for_sqlalchemy(dsn).replace("+psycopg", "+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool)
    with connection_errors():
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)


@pytest.fixture(params=[on_asyncpg, on_psycopg, on_sqlalchemy, on_sqlalchemy_and_asyncpg])
def execute(request: pytest.FixtureRequest) -> Execute:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


def raising(sqlstate: str, extra: str = "") -> str:
    return f"DO $$ BEGIN RAISE 'the 100%% reason' USING ERRCODE = '{sqlstate}'{extra}; END $$"


class TestEveryDriver:
    async def test_a_refusal_keeps_its_sqlstate_message_and_cause(
        self, bare_dsn: str, execute: Execute
    ) -> None:
        with pytest.raises(DatabaseError) as caught:
            await execute(bare_dsn, raising("23514", ", HINT = 'Do this.'"))

        error = caught.value
        assert (error.sqlstate, error.retryable) == ("23514", False)
        assert str(error) == "the 100% reason (Do this.)"
        assert error.__cause__ is not None
        assert failure_of(error) is failure_of(error.__cause__) is Failure.REFUSED
        assert sqlstate_of(error.__cause__) == "23514"

    @pytest.mark.parametrize(
        ("sqlstate", "failure", "retryable"),
        [
            ("40001", Failure.CONFLICT, True),
            ("40P01", Failure.CONFLICT, True),
            ("55P03", Failure.LOCKED, False),
            ("53100", Failure.BUSY, True),
            ("53300", Failure.BUSY, True),
            ("08006", Failure.UNREACHABLE, True),
            ("25006", Failure.UNREACHABLE, True),
            ("22P02", Failure.REFUSED, False),
            ("XX000", Failure.REFUSED, False),
        ],
    )
    async def test_the_sqlstate_says_what_to_do(
        self, bare_dsn: str, execute: Execute, sqlstate: str, failure: Failure, retryable: bool
    ) -> None:
        with pytest.raises(DatabaseError) as caught:
            await execute(bare_dsn, raising(sqlstate))

        assert caught.value.sqlstate == sqlstate
        assert caught.value.retryable is retryable
        assert failure_of(caught.value) is failure

    async def test_a_worker_that_was_given_up_is_told(
        self, bare_dsn: str, execute: Execute
    ) -> None:
        with pytest.raises(WorkerLostError):
            await execute(bare_dsn, raising("FS001"))

    async def test_a_run_that_does_not_exist_is_named(
        self, bare_dsn: str, execute: Execute
    ) -> None:
        with pytest.raises(RunNotFoundError) as caught:
            await execute(bare_dsn, raising("FS002", ", DETAIL = '42'"))

        assert caught.value.run_id == 42

    @pytest.mark.parametrize(
        "statement",
        ["SELECT * FROM nowhere.f()", "SELECT * FROM f(1)", "SELECT * FROM public.flowstone_runs"],
    )
    async def test_what_is_not_there_asks_for_a_migration(
        self, bare_dsn: str, execute: Execute, statement: str
    ) -> None:
        with pytest.raises(SchemaVersionError, match="flowstone db migrate"):
            await execute(bare_dsn, statement)

    async def test_a_server_that_is_away_cannot_be_reached(self, execute: Execute) -> None:
        with pytest.raises(DatabaseUnreachableError, match="cannot be reached") as caught:
            await execute(AWAY, "SELECT 1")

        assert caught.value.retryable
        assert failure_of(caught.value) is Failure.UNREACHABLE

    async def test_a_backend_that_was_killed_cannot_be_reached(
        self, bare_dsn: str, execute: Execute
    ) -> None:
        with pytest.raises(DatabaseUnreachableError):
            await execute(bare_dsn, "SELECT pg_terminate_backend(pg_backend_pid())")

    async def test_a_database_that_does_not_exist_is_named(
        self, server_dsn: str, execute: Execute
    ) -> None:
        with pytest.raises(DatabaseError, match="no_such_database"):
            await execute(with_database(server_dsn, "no_such_database"), "SELECT 1")


class TestOneDriver:
    async def test_a_value_that_asyncpg_cannot_send_is_refused(
        self, pg: asyncpg.Connection
    ) -> None:
        with pytest.raises(DatabaseError) as caught, database_errors():
            await pg.fetch("SELECT $1::bigint", "text")

        assert failure_of(caught.value) is Failure.REFUSED

    def test_a_value_that_psycopg_cannot_send_is_refused(self, bare_dsn: str) -> None:
        with (
            psycopg.connect(bare_dsn) as connection,
            pytest.raises(DatabaseError) as caught,
            database_errors(),
        ):
            connection.execute("SELECT %s", ["a\0b"])

        assert failure_of(caught.value) is Failure.REFUSED

    async def test_a_closed_connection_cannot_be_reached(self, pg: asyncpg.Connection) -> None:
        await pg.close()

        with pytest.raises(DatabaseUnreachableError), database_errors():
            await pg.fetch("SELECT 1")

    async def test_a_statement_without_an_answer_in_time_cannot_be_reached(
        self, pg: asyncpg.Connection
    ) -> None:
        with pytest.raises(DatabaseUnreachableError), database_errors():
            await pg.fetch("SELECT pg_sleep(60)", timeout=0.01)


class TestWhatIsNotTheDatabases:
    @pytest.mark.parametrize(
        "error", [ValueError("x"), FileNotFoundError("x"), KeyError("x"), FlowStoneError("x")]
    )
    def test_other_errors_pass_as_they_are(self, error: Exception) -> None:
        with pytest.raises(type(error)) as caught, database_errors():
            raise error

        assert caught.value is error

    async def test_a_cancellation_passes_as_it_is(self) -> None:
        with pytest.raises(asyncio.CancelledError), connection_errors():
            raise asyncio.CancelledError

    def test_while_connecting_a_missing_socket_is_no_answer(self) -> None:
        with pytest.raises(DatabaseUnreachableError), connection_errors():
            raise FileNotFoundError(2, "No such file or directory")

    def test_an_error_without_words_is_named_by_its_kind(self) -> None:
        with pytest.raises(DatabaseUnreachableError, match="BrokenPipeError"), database_errors():
            raise BrokenPipeError

    def test_a_limit_that_was_reached_says_so(self) -> None:
        with pytest.raises(DatabaseUnreachableError, match="no answer in time"), database_errors():
            raise TimeoutError

    def test_a_connection_lost_amid_an_exchange_is_lost(self) -> None:
        with pytest.raises(DatabaseUnreachableError) as caught, database_errors():
            raise asyncpg.InternalClientError("got result for unknown protocol state 3")

        assert failure_of(caught.value) is Failure.UNREACHABLE
        assert caught.value.retryable


async def test_who_cannot_be_reached_is_told_without_the_password() -> None:
    with pytest.raises(DatabaseUnreachableError) as caught:
        async with FlowStone([], dsn="postgresql://me:secret@nowhere.invalid/shop"):
            pass

    assert str(caught.value).endswith("; the dsn is postgresql://me@nowhere.invalid/shop")
