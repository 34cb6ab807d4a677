"""Somebody locks rows and takes his time."""

import asyncio
import random

from tests.chaos.world import World

ROWS = {
    "jobs that run": "procrastinate_jobs WHERE status = 'doing'",
    "jobs to do": "procrastinate_jobs WHERE status = 'todo'",
    "materializations": "flowstone_materializations WHERE finished_at IS NULL",
    "runs": "flowstone_runs WHERE finished_at IS NULL",
    "current": "flowstone_current WHERE true",
    "workers": "flowstone_workers WHERE true",
}


async def strike(world: World, chance: random.Random) -> str:
    name = chance.choice(list(ROWS))
    share = chance.choice([0.05, 0.3, 1.0])
    seconds = chance.uniform(0.5, 5)
    statement = f"SELECT FROM flowstone.{ROWS[name]} AND random() < $1 FOR UPDATE SKIP LOCKED"
    async with world.server.connected() as somebody, somebody.transaction():
        count = len(await somebody.fetch(statement, share))
        await asyncio.sleep(seconds)
    return f"{count} of {name} for {seconds:.1f} s"
