"""A worker stands still for longer than its lease, and then goes on as if nothing had been."""

import asyncio
import random
import signal

from tests.chaos.crew import LEASE_SECONDS
from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    member = world.crew.take(chance)
    if member is None:
        return "nobody was left"
    seconds = LEASE_SECONDS * chance.uniform(0.5, 3)
    try:
        member.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        member.send(signal.SIGCONT)
        world.crew.put_back(member)
    return f"{member.log.name} for {seconds:.1f} s"
