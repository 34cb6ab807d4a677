"""A steady lot of work for the queues with limits."""

from tests.chaos.client import Client
from tests.chaos.limited import NAMES

MEAN_SECONDS = 0.8


async def drive(client: Client) -> None:
    app = client.app
    notes = [client.text("limited") for _ in range(client.chance.choice([2, 5, 10]))]
    job = app.definitions.jobs[client.chance.choice(NAMES)]
    handles = await client.attempt(
        lambda: app.enqueue_many([job.with_(note=note) for note in notes])
    )
    for handle, note in zip(handles or [], notes, strict=handles is not None):
        client.asked.jobs[handle.job_id] = (note, "limited_jobs", 0.0)
    await client.pause(MEAN_SECONDS)
