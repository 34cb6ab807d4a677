"""Pools, drivers, servers that go away, and statements that leave nothing behind."""

import asyncio
import json
from pathlib import Path

import asyncpg
import procrastinate
import psycopg
import pytest
from procrastinate import exceptions, sql
from procrastinate.jobs import Status
from psycopg.conninfo import conninfo_to_dict

from flowstone.core.errors import InvalidOptionError
from flowstone.engine.connector import AsyncpgConnector, _translated
from flowstone.engine.dsn import for_asyncpg, with_search_path
from flowstone.engine.statements import search_path
from tests.application.stage import eventually
from tests.engine.connector.conftest import NASTY
from tests.engine.connector.stock_worker import status_of, worker


class TestTheConnector:
    async def test_works_on_a_pool_of_the_callers(self, dsn: str) -> None:
        app = procrastinate.App(connector=AsyncpgConnector(dsn))
        seen = []

        @app.task(name="remember")
        async def remember(**arguments: object) -> None:
            seen.append(arguments)

        async with asyncpg.create_pool(**for_asyncpg(dsn), min_size=1, max_size=2) as pool:
            async with app.open_async(pool):
                await remember.defer_async(a=[1])
                await worker(app, wait=False, listen_notify=False)
            assert await pool.fetchval("SELECT 1") == 1

        assert seen == [{"a": [1]}]

    async def test_arguments_are_written_and_read_as_is_said(self, dsn: str) -> None:
        seen: list[object] = []
        connector = AsyncpgConnector(
            dsn,
            json_dumps=lambda value: json.dumps(value, default=str),
            json_loads=lambda text: json.loads(text, parse_int=str),
        )
        async with procrastinate.App(connector=connector).open_async() as app:

            @app.task(name="remember")
            async def remember(**arguments: object) -> None:
                seen.append(arguments)

            await remember.defer_async(number=1, path=Path("a"))
            await worker(app, wait=False)

        assert seen == [{"number": "1", "path": "a"}]

    async def test_works_without_prepared_statements(self, dsn: str) -> None:
        app = procrastinate.App(connector=AsyncpgConnector(dsn, statement_cache_size=0))

        @app.task(name="noop")
        async def noop() -> None: ...

        async with app.open_async():
            job_id = await noop.defer_async()
            await worker(app, wait=False)

            assert await status_of(app, job_id) is Status.SUCCEEDED

    async def test_serves_synchronous_callers_in_the_same_schema(
        self, app: procrastinate.App
    ) -> None:
        inner: list[int] = []

        @app.task(name="inner")
        def inner_task(number: int) -> None:
            inner.append(number)

        @app.task(name="outer")
        def outer_task() -> None:
            inner_task.defer(number=1)

        await asyncio.to_thread(outer_task.defer)
        await worker(app, wait=False)
        await worker(app, wait=False)

        assert inner == [1]

    def test_serves_a_synchronous_app(self, dsn: str, schema: str) -> None:
        app = procrastinate.App(connector=AsyncpgConnector(dsn, schema))

        @app.task(name="deferred")
        def deferred() -> None: ...

        with app.open():
            assert deferred.defer() == 1

    async def test_not_opened_says_so(self, dsn: str) -> None:
        app = procrastinate.App(connector=AsyncpgConnector(dsn))

        with pytest.raises(exceptions.AppNotOpen):
            await app.job_manager.list_jobs_async()

    async def test_a_server_that_is_away_is_a_connector_error(self) -> None:
        connector = AsyncpgConnector("postgresql://user@/db?host=/nonexistent")

        with pytest.raises(exceptions.ConnectorException, match="No such file"):
            await connector.open_async()

    async def test_a_backend_that_is_killed_is_a_connector_error_and_replaced(
        self, plain: procrastinate.App
    ) -> None:
        execute = plain.connector.execute_query_one_async
        with pytest.raises(exceptions.ConnectorException):
            await execute("SELECT pg_terminate_backend(pg_backend_pid())")

        assert await execute("SELECT 1 AS one") == {"one": 1}

    async def test_a_server_that_goes_away_is_a_connector_error(
        self, dsn: str, server_dsn: str
    ) -> None:
        connector = AsyncpgConnector(dsn, min_size=0)
        await connector.open_async()
        with psycopg.connect(server_dsn, autocommit=True) as admin:
            name = conninfo_to_dict(dsn)["dbname"]
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())

        with pytest.raises(exceptions.ConnectorException):
            await connector.execute_query_one_async("SELECT 1 AS one")
        await connector.close_async()

    def test_a_wrong_dsn_or_schema_is_refused_at_once(self) -> None:
        with pytest.raises(InvalidOptionError, match="dsn"):
            AsyncpgConnector("nonsense")
        with pytest.raises(InvalidOptionError, match="schema"):
            AsyncpgConnector("postgresql://host", "")

    async def test_a_cancelled_statement_gives_its_connection_back_clean(
        self, dsn: str, pg: asyncpg.Connection
    ) -> None:
        connector = AsyncpgConnector(dsn, max_size=1)
        await connector.open_async()
        hanging = asyncio.create_task(connector.execute_query_async("SELECT pg_sleep(60)"))
        await eventually(
            lambda: pg.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' "
                "AND datname = current_database())"
            )
        )
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)

        row = await connector.execute_query_one_async("SELECT current_schema() AS schema")
        assert row == {"schema": "flowstone"}
        await connector.close_async()

    async def test_no_statement_leaves_a_search_path_behind(self, dsn: str) -> None:
        connector = AsyncpgConnector(dsn, max_size=1)
        await connector.open_async()
        await connector.execute_query_all_async("SELECT 1 AS one")
        with pytest.raises(exceptions.ConnectorException):
            await connector.execute_query_all_async("SELECT 1 / 0 AS one")
        assert connector._pool is not None

        assert '"flowstone"' not in await connector._pool.fetchval("SHOW search_path")
        await connector.close_async()


class TestStatements:
    @pytest.mark.parametrize("name", sorted(set(sql.queries) - {"listen_queue"}))
    async def test_every_statement_of_procrastinate_prepares(
        self, pg: asyncpg.Connection, name: str
    ) -> None:
        await pg.execute("SET search_path TO flowstone")

        text, names = _translated(sql.queries[name], frozenset())
        prepared = await pg.prepare(text)

        assert len(prepared.get_parameters()) == len(names)

    def test_the_same_name_is_the_same_parameter(self) -> None:
        text, names = _translated(
            "SELECT %(b)s, %(a)s::int, %(b)s, '%%', (%(c)s || 'SECOND'), %(o)s", frozenset({"o"})
        )

        assert text == "SELECT $1, $2::int, $1, '%', ($3 || 'SECOND'), $4::text::jsonb"
        assert [name for name, _ in names] == ["b", "a", "c", "o"]

    def test_a_search_path_in_a_dsn_survives_two_parsers(self, dsn: str) -> None:
        target = with_search_path(with_search_path(dsn, "x"), search_path(NASTY))
        with psycopg.connect(target) as connection:
            row = connection.execute("SHOW search_path").fetchone()

        assert row == (search_path(NASTY).replace(", ", ","),) or row == (search_path(NASTY),)
