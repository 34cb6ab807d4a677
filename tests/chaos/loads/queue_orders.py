"""Queues are paused and resumed, and a limit is narrowed and widened, while all goes on."""

from tests.chaos.client import Client
from tests.chaos.limited import MOST, NARROW_QUEUE, PACED_QUEUE

MEAN_SECONDS = 3.0


async def drive(client: Client) -> None:
    app = client.app
    await client.insist(
        lambda: app.queues.limit(NARROW_QUEUE, max_running=client.chance.randint(1, MOST))
    )
    queue = client.chance.choice([NARROW_QUEUE, PACED_QUEUE])
    await client.attempt(lambda: app.queues.pause(queue))
    await client.pause(0.5)
    await client.insist(lambda: app.queues.resume(queue))
    await client.pause(MEAN_SECONDS)
