"""Jobs that are cancelled before they begin, while they run, or when they have ended."""

from tests.chaos.client import Client
from tests.chaos.loads.job_results import enqueued

MEAN_SECONDS = 0.7


async def drive(client: Client) -> None:
    handle = await enqueued(client, "job_cancels")
    if handle is not None:
        await client.pause(client.chance.choice([0.01, 0.1, 1.0]))
        client.asked.cancelled_jobs[handle.job_id] = False
        await client.insist(handle.cancel)
        client.asked.cancelled_jobs[handle.job_id] = True
    await client.pause(MEAN_SECONDS)
