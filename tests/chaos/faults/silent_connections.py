"""The network passes nothing on for a while, and then breaks or goes on where it was."""

import asyncio
import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(1, 8)
    ends = chance.choice(["cut", "went on"])
    links = world.network.some(chance, 0.7)
    for link in links:
        link.fall_silent()
    await asyncio.sleep(seconds)
    for link in links:
        if ends == "cut":
            link.cut()
        link.speak()
    return f"{len(links)} for {seconds:.1f} s, then {ends}"
