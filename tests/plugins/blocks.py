"""How much a call reads: what tests of plans count."""

import json
from typing import Any

import asyncpg


async def blocks(pg: asyncpg.Connection, call: str) -> int:
    """Return how many blocks a call reads, in whatever it calls."""
    statement = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM {call}"
    plan: Any = json.loads(await pg.fetchval(statement))[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
