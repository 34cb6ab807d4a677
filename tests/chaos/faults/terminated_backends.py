"""An administrator ends sessions, or the statements that run in them."""

import random

from tests.chaos.world import World

OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid
"""


async def strike(world: World, chance: random.Random) -> str:
    share = chance.choice([0.2, 0.5, 1.0])
    function = chance.choice(["pg_terminate_backend", "pg_terminate_backend", "pg_cancel_backend"])
    async with world.server.connected() as admin:
        pids = [row["pid"] for row in await admin.fetch(OTHERS) if chance.random() < share]
        await admin.execute(f"SELECT {function}(pid) FROM unnest($1::integer[]) pid", pids)
    return f"{function} of {len(pids)}"
