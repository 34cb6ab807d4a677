"""A job is deferred on the caller's connection, with his commit."""

import json

import asyncpg
import procrastinate
import psycopg
import pytest
from procrastinate import exceptions


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
