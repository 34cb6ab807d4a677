"""A child process of a worker is killed, as the kernel does when memory runs out."""

import os
import random
import signal
from contextlib import suppress

from tests.chaos.processes import children_of
from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    workers = {member.pid for member in world.crew.members.values()}
    pids = sorted(pid for worker in workers for pid in children_of(worker))
    chosen = chance.sample(pids, chance.randint(1, len(pids))) if pids else []
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return f"{len(chosen)} of {len(pids)}"
