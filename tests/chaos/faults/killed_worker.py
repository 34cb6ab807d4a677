"""A worker is gone from one moment to the next, and another comes."""

import asyncio
import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    member = world.crew.take(chance)
    if member is None:
        return "nobody was left"
    await world.crew.kill(member)
    await asyncio.sleep(chance.uniform(0, 1))
    await world.crew.start(member.place)
    return member.log.name
