"""Unique jobs, asked for by several at once: one is enqueued, the others are told of that one."""

import asyncio

from tests.chaos.client import Client
from tests.chaos.jobs import UNIQUE

MEAN_SECONDS = 0.6
KEYS = ["a", "b", "c"]


async def drive(client: Client) -> None:
    name, key = client.chance.choice(sorted(UNIQUE)), client.chance.choice(KEYS)

    async def ask() -> None:
        app, note = client.app, client.text("job_twins")
        call = app.definitions.jobs[f"jobs.{name}"].with_(note=note, key=key)
        handle = await client.attempt(lambda: app.enqueue(call))
        if handle is not None and handle.created:
            client.asked.jobs[handle.job_id] = (note, "job_twins", 0.0)

    await asyncio.gather(*(ask() for _ in range(client.chance.randint(1, 4))))
    await client.pause(MEAN_SECONDS)
