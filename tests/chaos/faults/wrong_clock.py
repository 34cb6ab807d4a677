"""A worker comes back with a clock that is off by minutes, and stays."""

import random

from tests.chaos import clock
from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    seconds = chance.choice([-1, 1]) * chance.randint(60, 3600)
    if world.clock is None:
        return "left out: no C compiler here"
    member = world.crew.take(chance)
    if member is None:
        return "nobody was left"
    await world.crew.stop(member)
    await world.crew.start(member.place, clock.environment(world.clock, seconds))
    return f"{seconds:+} s instead of {member.log.name}"
