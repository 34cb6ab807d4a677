"""How many rows each table has."""

import asyncpg


async def rows(pg: asyncpg.Connection) -> dict[str, int]:
    tables = await pg.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'flowstone' ORDER BY 1"
    )
    return {
        table["name"]: await pg.fetchval(f"SELECT count(*) FROM flowstone.{table['name']}")
        for table in tables
    }
