"""Somebody takes every connection that the server has left, and those that are given back."""

import asyncio
import random
from contextlib import suppress

import asyncpg

from flowstone.engine.dsn import for_asyncpg
from tests.chaos.world import World


async def strike(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(1, 4)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    taken: list[asyncpg.Connection] = []
    try:
        while loop.time() < until:
            try:
                taken.append(await asyncpg.connect(**for_asyncpg(world.server.dsn), timeout=5))
            except (asyncpg.TooManyConnectionsError, OSError, TimeoutError):
                await asyncio.sleep(0.05)
    finally:
        for connection in taken:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
    return f"{len(taken)} for {seconds:.1f} s"
