"""
Jobs with a key, asked for by several at once.

Of unique ones one is enqueued, and the others are told of it; those of a lane go one by one.
"""

import asyncio

from tests.chaos.client import Client
from tests.chaos.jobs import KEYED

MEAN_SECONDS = 0.6
KEYS = ["a", "b", "c"]


async def drive(client: Client) -> None:
    name, key = client.chance.choice(KEYED), client.chance.choice(KEYS)

    async def ask() -> None:
        app, note = client.app, client.text("job_twins")
        call = app.definitions.jobs[f"jobs.{name}"].with_(note=note, key=key)
        handle = await client.attempt(lambda: app.enqueue(call))
        if handle is not None and handle.created:
            client.asked.jobs[handle.job_id] = (note, "job_twins", 0.0)

    await asyncio.gather(*(ask() for _ in range(client.chance.randint(1, 4))))
    await client.pause(MEAN_SECONDS)
