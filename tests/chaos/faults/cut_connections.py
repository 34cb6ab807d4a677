"""Connections break: at once, amid a statement on its way, or amid the reply to one."""

import asyncio
import random

from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    kind = chance.choice(["at once", "in a statement", "in a reply", "in a reply"])
    rounds = chance.randint(1, 4)
    count = 0
    for _ in range(rounds):
        for link in world.network.some(chance, 0.6):
            count += 1
            if kind == "at once":
                link.cut()
            else:
                link.cut_within(reply=kind == "in a reply")
        await asyncio.sleep(chance.uniform(0.1, 1))
    return f"{count} {kind}"
