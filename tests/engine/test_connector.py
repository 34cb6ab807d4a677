"""A stock procrastinate App works through the connector, in a schema of its own."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import procrastinate
import psycopg
import pytest
from procrastinate import exceptions, sql
from procrastinate.jobs import Status
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flowstone.core.errors import InvalidOptionError
from flowstone.engine import connector as connector_module
from flowstone.engine.connector import WAKE_UP, AsyncpgConnector, _translated
from flowstone.engine.dsn import for_asyncpg, with_search_path
from flowstone.engine.schema import migrate
from flowstone.engine.statements import search_path
from tests.application.stage import eventually

NASTY = "a b\"c';d\\e%s"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="procrastinate")


@pytest.fixture(params=["flowstone", NASTY], ids=["plain schema", "nasty schema"])
def schema(request: pytest.FixtureRequest, dsn: str) -> str:
    if request.param != "flowstone":
        migrate(dsn, request.param)
    return str(request.param)


@pytest.fixture
async def app(dsn: str, schema: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=AsyncpgConnector(dsn, schema))
    async with app.open_async():
        yield app


@pytest.fixture
async def plain(dsn: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with app.open_async():
        yield app


async def worker(app: procrastinate.App, **options: Any) -> None:
    await app.run_worker_async(install_signal_handlers=False, **options)


@asynccontextmanager
async def running(app: procrastinate.App, **options: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(worker(app, **options))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def status_of(app: procrastinate.App, job_id: int) -> Status:
    return await app.job_manager.get_job_status_async(job_id)


async def has_status(app: procrastinate.App, job_id: int, status: Status) -> bool:
    return await status_of(app, job_id) is status


async def is_listening(app: procrastinate.App) -> bool:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) > 0 AS found FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    )
    return bool(row["found"])


class TestAStockApp:
    async def test_defers_and_runs_a_job_with_its_arguments(self, app: procrastinate.App) -> None:
        seen: list[object] = []

        @app.task(name="remember")
        async def remember(**arguments: object) -> None:
            seen.append(arguments)

        arguments = {"number": 1, "list": [1, {"a": None}], "text": "ä %s $1 %% '\""}
        job_id = await remember.defer_async(**arguments)
        await worker(app, wait=False)

        assert seen == [arguments]
        assert await status_of(app, job_id) is Status.SUCCEEDED

    async def test_defers_many_at_once_in_their_order(self, app: procrastinate.App) -> None:
        seen: list[int] = []

        @app.task(name="remember")
        async def remember(number: int) -> None:
            seen.append(number)

        ids = await remember.batch_defer_async(*({"number": number} for number in range(20)))
        await worker(app, wait=False)

        assert ids == sorted(ids)
        assert seen == list(range(20))

    @pytest.mark.parametrize("lock", ["once", "with (brackets) and \n a line", "=(x)"])
    async def test_a_queueing_lock_that_is_taken_is_already_enqueued(
        self, app: procrastinate.App, lock: str
    ) -> None:
        @app.task(name="unique")
        async def unique() -> None: ...

        await unique.configure(queueing_lock=lock).defer_async()
        with pytest.raises(exceptions.AlreadyEnqueued) as caught:
            await unique.configure(queueing_lock=lock).defer_async()

        assert isinstance(caught.value.__cause__, exceptions.UniqueViolation)
        assert caught.value.__cause__.queueing_lock == lock

    async def test_a_failing_job_is_retried_and_then_fails(self, app: procrastinate.App) -> None:
        attempts: list[int] = []

        @app.task(name="fails", retry=2, pass_context=True)
        async def fails(context: procrastinate.JobContext) -> None:
            attempts.append(context.job.attempts)
            raise RuntimeError

        job_id = await fails.defer_async()
        await worker(app, wait=False)

        assert attempts == [0, 1, 2]
        assert await status_of(app, job_id) is Status.FAILED

    async def test_a_scheduled_job_waits_for_its_date(self, app: procrastinate.App) -> None:
        @app.task(name="later")
        async def later() -> None: ...

        date = datetime.now(UTC) + timedelta(days=1)
        job_id = await later.configure(schedule_at=date).defer_async()
        await worker(app, wait=False)

        assert await status_of(app, job_id) is Status.TODO
        (job,) = await app.job_manager.list_jobs_async(id=job_id)
        assert job.scheduled_at == date

    async def test_cancels_a_waiting_job(self, app: procrastinate.App) -> None:
        @app.task(name="never")
        async def never() -> None:
            raise AssertionError

        job_id = await never.defer_async()

        assert await app.job_manager.cancel_job_by_id_async(job_id)
        await worker(app, wait=False)
        assert await status_of(app, job_id) is Status.CANCELLED
        assert not await app.job_manager.cancel_job_by_id_async(job_id)

    async def test_a_periodic_task_is_deferred_once_per_tick(self, app: procrastinate.App) -> None:
        @app.task(name="tick")
        async def tick(timestamp: int) -> None: ...

        job = tick.configure(task_kwargs={"timestamp": 60}).job
        first = await app.job_manager.defer_periodic_job(job, "", 60)
        second = await app.job_manager.defer_periodic_job(job, "", 60)

        assert first is not None
        assert second is None

    async def test_lists_counts_and_prunes(self, app: procrastinate.App) -> None:
        @app.task(name="count", queue="q", lock="l")
        async def count() -> None: ...

        await count.defer_async()
        manager = app.job_manager
        assert [queue["name"] for queue in await manager.list_queues_async()] == ["q"]
        assert [task["todo"] for task in await manager.list_tasks_async()] == [1]
        assert [lock["name"] for lock in await manager.list_locks_async()] == ["l"]
        await worker(app, wait=False)

        await manager.delete_old_jobs(nb_hours=0, queue="q", include_failed=True)
        assert list(await manager.list_jobs_async()) == []
        assert list(await manager.get_stalled_jobs(queue="q")) == []
        with pytest.warns(DeprecationWarning, match="nb_seconds"):
            assert list(await manager.get_stalled_jobs(nb_seconds=1)) == []
        assert await manager.prune_stalled_workers(0.5) == []


class TestListening:
    async def test_a_new_job_wakes_an_idle_worker(self, app: procrastinate.App) -> None:
        done = asyncio.Event()

        @app.task(name="wake", queue="a b")
        async def wake() -> None:
            done.set()

        async def has_run_after_one_more() -> bool:
            # Its worker forgets a notification that arrives while it looks for jobs.
            await wake.defer_async()
            return done.is_set()

        async with running(app, queues=["a b"], fetch_job_polling_interval=600):
            await eventually(lambda: is_listening(app))
            await eventually(has_run_after_one_more)

    async def test_an_abort_reaches_a_running_job(self, plain: procrastinate.App) -> None:
        started = asyncio.Event()

        @plain.task(name="endless")
        async def endless() -> None:
            started.set()
            await asyncio.Event().wait()

        job_id = await endless.defer_async()
        patience = {"fetch_job_polling_interval": 600, "abort_job_polling_interval": 600}
        async with running(plain, **patience):
            await eventually(started.is_set)
            await eventually(lambda: is_listening(plain))
            await plain.job_manager.cancel_job_by_id_async(job_id, abort=True)
            await eventually(lambda: has_status(plain, job_id, Status.ABORTED))

    async def test_a_lost_connection_is_replaced_and_everybody_woken(
        self, plain: procrastinate.App, pg: asyncpg.Connection
    ) -> None:
        heard: list[tuple[str, str]] = []

        async def hear(*, channel: str, payload: str) -> None:
            heard.append((channel, payload))

        listening = asyncio.create_task(plain.connector.listen_notify(hear, ["x#1", "y"]))
        await eventually(lambda: len(heard) == 2)
        await pg.execute("SELECT pg_notify('y', 'hello')")
        await eventually(lambda: len(heard) == 3)
        await pg.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        await eventually(lambda: len(heard) == 5)
        await pg.execute("SELECT pg_notify('x#1', 'again')")
        await eventually(lambda: len(heard) == 6)

        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        catch_up = [("x#1", WAKE_UP), ("y", WAKE_UP)]
        assert heard == [*catch_up, ("y", "hello"), *catch_up, ("x#1", "again")]

    async def test_a_connection_that_died_without_a_word_is_found_out(
        self, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connector_module, "KEEPALIVE_SECONDS", 0.05)
        monkeypatch.setattr(connector_module, "ANSWER_SECONDS", 0.05)
        heard: list[str] = []

        async def hear(*, channel: str, payload: str) -> None:
            heard.append(payload)

        async with a_line_that_can_be_cut(dsn, tmp_path) as (line, through_it):
            connector = AsyncpgConnector(dsn, direct_dsn=through_it)
            listening = asyncio.create_task(connector.listen_notify(hear, ["x"]))
            await eventually(lambda: heard == [WAKE_UP])
            line.cut()
            await eventually(lambda: line.calls >= 2)
            line.mend()
            await eventually(lambda: len(heard) >= 2)

            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class Line:
    """Carries bytes to the server and back, until it is cut: then nothing arrives, and no end."""

    def __init__(self) -> None:
        self.calls = 0
        self._whole = asyncio.Event()
        self._whole.set()
        self._carriers: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def close(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    async def call(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.calls += 1
        for (reader, _), (_, writer) in ((here, there), (there, here)):
            self._carriers.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._whole.wait()
                writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def a_line_that_can_be_cut(dsn: str, folder: Path) -> AsyncIterator[tuple[Line, str]]:
    parts = conninfo_to_dict(dsn)
    host, port = str(parts.get("host", "localhost")), int(parts.get("port") or 5432)
    line = Line()

    async def answer(*here: Any) -> None:
        socket = f"{host}/.s.PGSQL.{port}"
        if host.startswith("/"):
            await line.call(here, await asyncio.open_unix_connection(socket))
        else:
            await line.call(here, await asyncio.open_connection(host, port))

    server = await asyncio.start_unix_server(answer, folder / ".s.PGSQL.5432")
    try:
        yield line, make_conninfo(dsn, host=str(folder), port=5432)
    finally:
        await line.close()
        server.close()
        await server.wait_closed()


class TestTheCallersConnection:
    @pytest.mark.parametrize("codec", [None, "text", "binary"])
    async def test_a_job_is_deferred_in_its_transaction(
        self, plain: procrastinate.App, pg: asyncpg.Connection, codec: str | None
    ) -> None:
        @plain.task(name="joined")
        async def joined(**_: object) -> None: ...

        if codec == "text":
            await pg.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
            )
        if codec == "binary":
            await pg.set_type_codec(
                "jsonb",
                schema="pg_catalog",
                encoder=lambda value: b"\1" + json.dumps(value).encode(),
                decoder=lambda value: json.loads(value[1:]),
                format="binary",
            )
        await pg.execute("SET search_path TO pg_catalog")
        async with pg.transaction():
            kept = await joined.configure(connection=pg).defer_async(a={"b": 1})
            path = await pg.fetchval("SHOW search_path")
        rolled_back = pg.transaction()
        await rolled_back.start()
        gone = await joined.configure(connection=pg).defer_async(a=1)
        cancelled = await plain.job_manager.cancel_job_by_id_async(kept, connection=pg)
        await rolled_back.rollback()

        assert cancelled
        assert path == "pg_catalog"
        assert await pg.fetchval("SHOW search_path") == "pg_catalog"
        jobs = {job.id: job for job in await plain.job_manager.list_jobs_async()}
        assert gone not in jobs
        assert jobs[kept].task_kwargs == {"a": {"b": 1}}
        assert jobs[kept].status == "todo"

    async def test_a_refused_job_leaves_the_transaction_usable(
        self, plain: procrastinate.App, pg: asyncpg.Connection
    ) -> None:
        @plain.task(name="unique", queueing_lock="x")
        async def unique() -> None: ...

        await unique.defer_async()
        async with pg.transaction():
            with pytest.raises(exceptions.AlreadyEnqueued):
                await unique.configure(connection=pg).defer_async()
            assert await pg.fetchval("SELECT 1") == 1
            assert '"flowstone"' not in await pg.fetchval("SHOW search_path")

    async def test_a_connection_of_another_driver_is_refused(
        self, plain: procrastinate.App, dsn: str
    ) -> None:
        @plain.task(name="joined")
        async def joined() -> None: ...

        with psycopg.connect(dsn) as connection:
            deferrer = joined.configure(connection=connection)
            with pytest.raises(exceptions.ConnectorException, match="asyncpg"):
                await deferrer.defer_async()


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
