"""A worker that is given up for dead at once: nobody waits until its lease is over."""

import asyncpg

from tests.scenarios.spawned import Spawned

LONG = 25.0
"""A lease that is not over before the test is, whatever else the machine has to do."""


async def give_up(pg: asyncpg.Connection, worker: Spawned, *, max_rescues: int = 5) -> None:
    """Take over from a worker that was killed or paused, as others do once its lease is over."""
    async with pg.transaction():
        await pg.execute(
            "UPDATE flowstone.flowstone_workers SET heartbeat_at = 'epoch' WHERE pid = $1",
            worker.pid,
        )
        await pg.execute("SELECT flowstone.flowstone_rescue_v1($1)", max_rescues)
