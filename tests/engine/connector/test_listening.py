"""Workers hear of jobs and of aborts, also when their connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import procrastinate
import pytest
from procrastinate.jobs import Status
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flowstone.engine import connector as connector_module
from flowstone.engine.connector import WAKE_UP, AsyncpgConnector
from tests.application.stage import eventually
from tests.engine.connector.stock_worker import has_status, is_listening, running


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
            await eventually(lambda: heard)
            # One that answers late on a busy machine is replaced as well.
            line.cut()
            known = line.calls
            await eventually(lambda: line.calls > known)
            told = len(heard)
            line.mend()
            await eventually(lambda: len(heard) > told)
            assert {*heard} == {WAKE_UP}

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
