"""The server's own processes stand still in whatever they do, with the locks that they hold."""

import asyncio
import os
import random
import signal
from contextlib import suppress

from tests.chaos.world import World

BUSY = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
ORDER BY state = 'active' DESC, pid
"""


async def strike(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(0.5, 4)
    async with world.server.connected() as admin:
        pids = [row["pid"] for row in await admin.fetch(BUSY)]
    chosen = pids[: chance.randint(1, 3)]
    try:
        for pid in chosen:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        for pid in chosen:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
    return f"{len(chosen)} for {seconds:.1f} s"
