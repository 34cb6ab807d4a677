"""A worker that is given up for dead at once: nobody waits until its lease is over."""

import asyncpg

from tests.scenarios.spawned import Spawned

LONG = 25.0
"""A lease that is not over before the test is, whatever else the machine has to do."""


async def give_up(pg: asyncpg.Connection, worker: Spawned, *, max_rescues: int = 5) -> None:
    """Take over from a worker that was killed or paused, as others do once its lease is over."""
    await _give_up(pg, "pid = $1", worker.pid, max_rescues=max_rescues)


async def give_up_all(pg: asyncpg.Connection, *, max_rescues: int = 5) -> None:
    """Take over from all workers, of whom none lives."""
    await _give_up(pg, "true", max_rescues=max_rescues)


async def _give_up(pg: asyncpg.Connection, who: str, *values: int, max_rescues: int) -> None:
    async with pg.transaction():
        await pg.execute(
            f"UPDATE flowstone.flowstone_workers SET heartbeat_at = 'epoch' WHERE {who}", *values
        )
        await pg.execute("SELECT flowstone.flowstone_rescue_v1($1)", max_rescues)
