"""
The network passes nothing on, and tells nobody.

After a while it breaks, goes on where it was, or stays silent for as long as it takes to notice.
"""

import asyncio
import random

from tests.chaos.world import World

UNTIL_NOTICED_SECONDS = 32.0
"""A worker waits 30 s for the reply to a turn."""


async def strike(world: World, chance: random.Random) -> str:
    ends = chance.choice(["cut", "went on", "stayed so"])
    seconds = UNTIL_NOTICED_SECONDS if ends == "stayed so" else chance.uniform(1, 8)
    links = world.network.some(chance, 0.7)
    for link in links:
        link.fall_silent()
    await asyncio.sleep(seconds)
    for link in links:
        if ends == "cut":
            link.cut()
        if ends != "stayed so":
            link.speak()
    return f"{len(links)} for {seconds:.1f} s, then {ends}"
