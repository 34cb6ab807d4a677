"""A job's row locked by somebody else, and who waits for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from flowstone.engine.dsn import for_asyncpg

BEHIND_A_LOCK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'
"""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection of its own: in a transaction, what others do looks as it did at first."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def running_jobs_locked(dsn: str) -> AsyncIterator[None]:
    """Lock the rows of all jobs that run at this moment."""
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM flowstone.procrastinate_jobs WHERE status = 'doing' FOR UPDATE"
        )
        yield


async def behind_a_lock(pg: asyncpg.Connection, function: str, *, count: int = 1) -> bool:
    """Return whether so many calls of the SQL function wait for a lock."""
    found: int = await pg.fetchval(BEHIND_A_LOCK, function)
    return found >= count
