"""Postgres goes away, as if it had crashed or as an administrator asks it to, and comes back."""

import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    immediately = chance.random() < 0.5
    pause = chance.choice([0.0, 0.0, 1.0, 4.0])
    await world.server.restart(immediately=immediately, pause=pause)
    return f"{'immediate' if immediately else 'fast'}, away for {pause:g} s"
