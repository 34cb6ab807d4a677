"""Runs that are cancelled before they begin, while they run, or when they have ended."""

from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS
from tests.chaos.loads.dags import some_targets

MEAN_SECONDS = 1.2


async def drive(client: Client) -> None:
    app = client.app
    over = client.chance.sample(PARTITIONS, 2)
    targets = some_targets(client)
    handle = await client.attempt(lambda: app.enqueue_many(targets, over=over, force=True))
    if handle is not None:
        client.asked.runs[handle.run_id] = "cancels"
        await client.pause(client.chance.choice([0.01, 0.3, 1.5]))
        await client.insist(handle.cancel)
        client.asked.cancelled.add(handle.run_id)
    await client.pause(MEAN_SECONDS)
