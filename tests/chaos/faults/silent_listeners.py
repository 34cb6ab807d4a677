"""
What listens for notifications hears nothing any more, and nobody tells it; all else goes on.

That is what a firewall does that forgets a quiet connection. It stays so until the fault is over:
whoever relies on notifications alone finds its work late.
"""

import asyncio
import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(5, 25)
    links = [link for link in world.network.links if link.is_listening]
    for link in links:
        link.fall_silent()
    await asyncio.sleep(seconds)
    for link in links:
        link.cut()
        link.speak()
    return f"{len(links)} for {seconds:.1f} s"
