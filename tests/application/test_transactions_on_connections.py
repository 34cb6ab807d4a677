"""``ctx.transaction()``: its connections, how many there are, and how long they idle."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from flowstone import JobContext, Pipeline
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.caller_connection import fetch
from flowstone.engine.transaction_connections import MOST_OPEN
from tests.application.conftest import AppOf, on_postgres
from tests.application.entries import DriverName, Entries, error_of, with_every_driver, write
from tests.application.stage import PostgresStage, drain, eventually, working

PIDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@on_postgres
class TestItsLimits:
    async def test_one_that_idles_for_long_is_ended_by_the_server_which_the_error_says(
        self, app_of: AppOf, entries: Entries, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
                pid = await conn.fetchval("SELECT pg_backend_pid()")
            await eventually(lambda: (pid,) not in list(admin.execute(PIDS)))

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        lease = timedelta(seconds=1.5)
        await app.worker(WorkerOptions({"default": 1}, lease=lease, drain=True)).run()

        assert "nothing is asked for 1 s: open it late" in await error_of(handle)
        assert entries.notes == []

    async def test_so_many_are_open_at_once_and_others_wait_while_work_goes_on(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        inside: set[int] = set()
        may_return = asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext, number: int) -> None:
            driver: DriverName = "asyncpg" if number % 2 else "psycopg"
            async with ctx.transaction(driver) as conn:
                await write(conn, f"{number:02}")
                inside.add(number)
                await may_return.wait()

        @shop.job
        async def other() -> None: ...

        app = await app_of(shop)
        async with working(app):
            handles = await app.enqueue_many([pay.with_(number) for number in range(MOST_OPEN + 3)])
            await eventually(lambda: len(inside) == MOST_OPEN)
            await (await app.enqueue(other.with_())).result(timeout=60)
            assert len(inside) == MOST_OPEN
            may_return.set()
            for handle in handles:
                await handle.result(timeout=60)

        assert entries.notes == [f"{number:02}" for number in range(MOST_OPEN + 3)]

    async def test_what_a_session_was_told_is_not_told_to_the_next_one(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        found = []

        @shop.job
        async def pay(ctx: JobContext, driver: DriverName) -> None:
            async with ctx.transaction(driver) as conn:
                await conn.execute("SET work_mem = '123MB'")

        @shop.job
        async def look(ctx: JobContext, driver: DriverName) -> None:
            async with ctx.transaction(driver) as conn:
                if driver == "asyncpg":
                    found.append(await conn.fetchval("SHOW work_mem"))
                else:
                    found.extend(await (await conn.execute("SHOW work_mem")).fetchone())

        app = await app_of(shop)
        for driver in ("asyncpg", "psycopg"):
            await app.enqueue(pay.with_(driver))
            await drain(app)
            await app.enqueue(look.with_(driver))
            await drain(app)

        assert len(found) == 2
        assert "123MB" not in found

    @with_every_driver
    async def test_it_is_read_committed_whatever_the_databases_default(
        self, app_of: AppOf, entries: Entries, stage: PostgresStage, driver: DriverName
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def level(ctx: JobContext) -> str:
            async with ctx.transaction(driver) as conn:
                [row] = await fetch(
                    conn, "SELECT current_setting('transaction_isolation') AS level"
                )
            return str(row["level"])

        options = "-c default_transaction_isolation=serializable"
        app = await app_of(shop, dsn=make_conninfo(stage.dsn, options=options))
        handle = await app.enqueue(level.with_())
        await drain(app)

        assert await handle.result(timeout=60) == "read committed"

    async def test_a_connection_that_was_kept_is_of_no_use_afterwards(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        kept = []

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                kept.append(conn)

        app = await app_of(shop)
        await app.enqueue(pay.with_())
        await drain(app)

        with pytest.raises(Exception, match="released back to the pool"):
            await write(kept[0], "stray")
        assert entries.notes == []

    async def test_connections_that_were_lost_in_between_are_replaced(
        self, app_of: AppOf, entries: Entries, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext, driver: DriverName, note: str) -> None:
            async with ctx.transaction(driver) as conn:
                await write(conn, note)

        app = await app_of(shop)
        for queue in ("first", "second"):
            for driver in ("asyncpg", "psycopg", "sqlalchemy"):
                await app.enqueue(pay.with_(driver, f"{queue} on {driver}"), queue=queue)
        await drain(app, first=3)
        admin.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({PIDS}) others")
        await drain(app, second=3)

        assert len(entries.notes) == 6
