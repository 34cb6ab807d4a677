"""What tells a store on Postgres from others: the server's data, the database and the schema."""

import asyncpg

from flowstone.engine.schema import migrate
from flowstone.engine.store import PostgresStore


async def origin(dsn: str, schema: str = "flowstone") -> str:
    store = PostgresStore(dsn, schema=schema)
    await store.open()
    try:
        return await store.origin()
    finally:
        await store.close()


async def test_another_database_and_another_schema_are_other_stores(
    dsn: str, bare_dsn: str
) -> None:
    migrate(bare_dsn)
    migrate(bare_dsn, "beside")

    found = [await origin(dsn), await origin(bare_dsn), await origin(bare_dsn, "beside")]

    assert len(set(found)) == 3
    assert await origin(dsn) == found[0]


async def test_a_role_without_privileges_may_ask(dsn: str, pg: asyncpg.Connection) -> None:
    await pg.execute(
        "CREATE ROLE origin_asker NOLOGIN; GRANT USAGE ON SCHEMA flowstone TO origin_asker"
    )
    try:
        async with pg.transaction():
            await pg.execute("SET LOCAL ROLE origin_asker")
            found = await pg.fetchval("SELECT flowstone.flowstone_origin_v1()")
    finally:
        await pg.execute("DROP OWNED BY origin_asker; DROP ROLE origin_asker")

    assert found == await origin(dsn)
