"""A worker is asked to stop, as a deployment does, and another takes its place."""

import asyncio
import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    member = world.crew.take(chance)
    if member is None:
        return "nobody was left"
    replacing = world.crew.start(member.place)
    stopping = world.crew.stop(member)
    await asyncio.gather(stopping, replacing)
    return member.log.name
