"""
The network passes nothing on, and tells nobody.

After a while it breaks or goes on where it was; sometimes only when everybody has noticed.
"""

import asyncio
import random

from tests.chaos.world import World

UNTIL_NOTICED_SECONDS = 32.0
"""A worker waits 30 s for the reply to a turn, and opens another connection."""


async def strike(world: World, chance: random.Random) -> str:
    ends = chance.choice(["cut", "went on", "was noticed"])
    seconds = UNTIL_NOTICED_SECONDS if ends == "was noticed" else chance.uniform(1, 8)
    links = world.network.some(chance, 0.7)
    for link in links:
        link.fall_silent()
    await asyncio.sleep(seconds)
    for link in links:
        if ends != "went on":
            link.cut()  # a client that plans a run would wait for minutes
        link.speak()
    return f"{len(links)} for {seconds:.1f} s, then {ends}"
