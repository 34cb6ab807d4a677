"""How much a call reads: what tests of plans count."""

import json
from typing import Any

import asyncpg

UNVACUUMED = """
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'flowstone'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', v_table);
    END LOOP;
END
$$
"""


async def leave_alone(pg: asyncpg.Connection) -> None:
    """Keep autovacuum away: whoever meets new statistics plans anew, and reads for that, too."""
    await pg.execute(UNVACUUMED)


async def blocks(pg: asyncpg.Connection, call: str) -> int:
    """Return how many blocks a call reads, in whatever it calls."""
    statement = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM {call}"
    plan: Any = json.loads(await pg.fetchval(statement))[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
