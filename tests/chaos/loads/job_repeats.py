"""The same job asked for several times, at once and again: ``dedupe`` makes one of it."""

import asyncio

from tests.chaos.client import Client

MEAN_SECONDS = 1.0


async def drive(client: Client) -> None:
    note = client.text("job_repeats")

    async def ask() -> int:
        app = client.app
        call = app.definitions.jobs["jobs.plain"].with_(note=note)
        return (await client.insist(lambda: app.enqueue(call, dedupe=note))).job_id

    asking = [asyncio.create_task(ask()) for _ in range(client.chance.randint(2, 4))]
    ids = [*await asyncio.gather(*asking), await ask()]
    client.asked.same_jobs[note] = set(ids)
    client.asked.jobs[ids[0]] = (note, "job_repeats", 0.0)
    await client.pause(MEAN_SECONDS)
